import { durationOf } from '../domain/duration-text.ts'
import { GatewayError } from '../domain/gateway-error.ts'

/** `setTimeout` takes a longer delay for 1 ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * A deadline as an application gave it: a number of ms from 0, or `Infinity` for none.
 *
 * @param name Where it stands, for the message.
 * @throws {RangeError} for anything else.
 */
export function checkedDeadline(name: string, deadlineMs: number | undefined): number | undefined {
  if (deadlineMs === undefined || (typeof deadlineMs === 'number' && deadlineMs >= 0)) return deadlineMs
  const given = typeof deadlineMs === 'number' ? `the number ${deadlineMs}` : `a value of type ${typeof deadlineMs}`
  throw new RangeError(`${name} is ${given}, allowed: a number of milliseconds from 0`)
}

/**
 * Waits for shared work without owning it: leaving stops the waiting, never the work.
 *
 * @throws {GatewayError} `GW_ACQUIRE_TIMEOUT` after `deadlineMs`, `GW_ACQUIRE_ABORTED` when `signal` aborts.
 */
export function waitFor<T>(work: Promise<T>, deadlineMs: number, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (error: GatewayError) => {
      stop()
      reject(error)
    }
    const onAbort = () => leave(abortedAcquire(signal))
    const timer = setTimeout(
      () =>
        leave(
          new GatewayError('GW_ACQUIRE_TIMEOUT', `no fresh token within ${durationOf(deadlineMs)}; the refresh goes on`, {
            next: 'try_again_later',
          }),
        ),
      Math.min(deadlineMs, LONGEST_TIMER_MS),
    )
    const stop = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    work.then(
      value => {
        stop()
        resolve(value)
      },
      error => {
        stop()
        reject(error)
      },
    )
  })
}

/** The error for a caller who left. */
export function abortedAcquire(signal: AbortSignal | undefined): GatewayError {
  return new GatewayError('GW_ACQUIRE_ABORTED', 'the caller left while its token was being refreshed', {
    next: 'nothing',
    cause: signal?.reason,
  })
}
