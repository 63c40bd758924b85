import { AsyncLocalStorage } from 'node:async_hooks'
import { type Context, context, createContextKey, ROOT_CONTEXT } from '@opentelemetry/api'

/**
 * Contexts of a process in which no context manager is registered. Kept here and not registered: a manager of ours would keep
 * the host from registering its own later (`registerGlobal` of the API refuses a second one).
 */
const own = new AsyncLocalStorage<Context>()

const PROBE = ROOT_CONTEXT.setValue(createContextKey('gatewatch probe'), true)
const isProbeActive = () => context.active() === PROBE

/** Whether the process has a context manager that the API sees; asked each time, since a host may register one at any moment. */
function hasContextManager(): boolean {
  return context.with(PROBE, isProbeActive)
}

/** The context of the code that runs now: the host's, or ours where no context manager is registered. */
export function activeContext(): Context {
  const active = context.active()
  if (active !== ROOT_CONTEXT) return active
  const kept = own.getStore()
  // A host may run code in the root context on purpose.
  return kept === undefined || hasContextManager() ? active : kept
}

/** Runs `work`, and everything asynchronous that it starts, in `active`. @returns what `work` returns */
export function runInContext<Result>(active: Context, work: () => Result): Result {
  if (active === ROOT_CONTEXT) return hasContextManager() ? context.with(active, work) : own.run(active, work)
  // One run of a store where a probe before it would be two: each copies what the process keeps in stores.
  return context.with(active, () => (context.active() === active ? work() : own.run(active, work)))
}
