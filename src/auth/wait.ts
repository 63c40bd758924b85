import { GatewayError } from '../domain/gateway-error.ts'

/**
 * Waits for shared work without owning it: leaving stops the waiting, never the work.
 *
 * @throws {GatewayError} `GW_VISIT_TIMEOUT` after `deadlineMs`, `GW_VISIT_ABORTED` when `signal` aborts.
 */
export function waitFor<T>(work: Promise<T>, deadlineMs: number, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (error: GatewayError) => {
      stop()
      reject(error)
    }
    const onAbort = () => leave(abortedVisit(signal))
    const timer = setTimeout(
      () =>
        leave(
          new GatewayError('GW_VISIT_TIMEOUT', `no fresh token within ${deadlineMs} ms; the refresh goes on`, { next: 'try_again_later' }),
        ),
      deadlineMs,
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

/** The error for a visitor who left. */
export function abortedVisit(signal: AbortSignal | undefined): GatewayError {
  return new GatewayError('GW_VISIT_ABORTED', 'the caller left while its token was being refreshed', {
    next: 'nothing',
    cause: signal?.reason,
  })
}
