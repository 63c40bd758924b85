import { AsyncLocalStorage } from 'node:async_hooks'

const own = new AsyncLocalStorage<true>()

/** Runs Gatewatch's own work: what it sends, now or later, is not the application's. */
export function suppressInstrumentation<T>(work: () => T): T {
  return own.run(true, work)
}

/** Says whether the code that runs now is Gatewatch's own. */
export function isInstrumentationSuppressed(): boolean {
  return own.getStore() === true
}
