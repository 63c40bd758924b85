import { diag } from '@opentelemetry/api'
import { errorType } from '../domain/gateway-error.ts'

/** Faults remembered as reported; more kinds than that are reported again. */
const MOST_REPORTED = 1_000

/** @param place What failed; absent where nothing did, and the message says all. */
type OnFault = (fault: unknown, place?: string) => unknown

/**
 * Reports faults of Gatewatch, and of the callbacks an application gave it, where they are caught: through `diag` and
 * `onFault`, once for each place and type of error. Nothing here throws, so that the application runs on as if
 * Gatewatch were not there.
 */
export class FaultReporter {
  readonly #onFault: OnFault | undefined
  readonly #reported = new Set<string>()

  /** @param onFault Receives what was thrown. What it throws itself, or rejects with, is dropped. */
  constructor(onFault?: OnFault) {
    this.#onFault = onFault
  }

  /** @param place What failed, fit for a log line: `the option wrapRefresh.profile`. */
  report(place: string, fault: unknown): void {
    try {
      const type = errorType(fault)
      const key = `${place} ${type}`
      if (this.#reported.has(key)) return
      if (this.#reported.size >= MOST_REPORTED) this.#reported.clear()
      this.#reported.add(key)
      // The error's text stays out: the application's arguments may stand in it.
      quietly(() => diag.error(`gatewatch: ${place} failed (${type}); the application is not affected`))
      quietly(() => this.#onFault?.(fault, place))
    } catch {
      // A thrown object whose own properties throw cannot be named.
    }
  }

  /** Reports a state of the process that its operator should know of, though nothing failed. @param state Its message says all. */
  notice(state: Error): void {
    quietly(() => diag.warn(`gatewatch: ${state.message}`))
    quietly(() => this.#onFault?.(state))
  }

  /**
   * Runs `callback` and returns what it returns; `instead` when it throws, which is reported.
   *
   * @example faults.guard('the option wrapCall.model', () => options.model?.(...parameters), undefined)
   */
  guard<T>(place: string, callback: () => T, instead: T): T {
    try {
      return callback()
    } catch (fault) {
      this.report(place, fault)
      return instead
    }
  }

  /** As `guard` for a callback that returns a text; anything else than a string with something in it, or `undefined`, is a fault. */
  text(place: string, callback: () => string | undefined): string | undefined {
    return this.guard<string | undefined>(place, () => textOf(callback()), undefined)
  }
}

/** @throws {TypeError} for what is no text. A promise, of a callback that is asynchronous by mistake, rejects unheard. */
function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  settleQuietly(value)
  throw new TypeError(`returned ${Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`}, allowed: a string`)
}

function quietly(callback: () => unknown): void {
  try {
    settleQuietly(callback())
  } catch {
    // A listener of faults that has a fault itself: there is no further place to report it.
  }
}

/** Nothing awaits the promise of a callback that should return a value: its rejection must not end the process. */
function settleQuietly(value: unknown): void {
  if (value instanceof Promise) value.catch(() => undefined)
}
