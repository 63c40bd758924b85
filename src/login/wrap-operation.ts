import { SPAN_EXCHANGE, SPAN_LOGIN, SPAN_REVOKE } from '../../otel/semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import { type AsyncFunction, callWrapped, type Resolved, type ValueOrReader, valueFor } from '../domain/wrapped-function.ts'
import { carryPermit, Permit } from '../providers/permit.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { recordOperation } from './operation-record.ts'

/** The OAuth operations in addition to the refresh, by their spans. */
export const WRAPPED_OPERATIONS = { login: SPAN_LOGIN, exchange: SPAN_EXCHANGE, revoke: SPAN_REVOKE } as const
/** Which OAuth operation of the application is wrapped. */
export type WrappedOperation = keyof typeof WRAPPED_OPERATIONS

/**
 * How the arguments of another caller's OAuth operation are read. A callback that throws is reported once through `diag` and
 * `onError`, and the operation runs as if it were not wrapped.
 */
export interface WrapOperationOptions<F extends AsyncFunction> {
  provider: string
  /** Which profile it is about. @default none is recorded */
  profile?: ValueOrReader<F, string>
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
}

/** A login may wait for a person; its permit is good for as long as a device code. @see RFC 8628 section 3.2 */
const PERMIT_LIFETIME_MS = 15 * 60_000
const MOST_REQUESTS = 200

/**
 * Wraps a login, code exchange or revocation that the application wrote: a span with the caller site, and a permit, since
 * its token requests are meant and are no bypass.
 *
 * @returns A function with the same `this`, arguments, result and errors.
 */
export function wrapOperation<F extends AsyncFunction>(
  telemetry: Telemetry,
  tokenUrl: string | undefined,
  operation: WrappedOperation,
  run: F,
  options: WrapOperationOptions<F>,
): F {
  function watched(this: unknown, ...parameters: Parameters<F>): Promise<Resolved<F>> {
    const caller = takeCallerSite(watched)
    const profileId = telemetry.faults.text(`the option wrapOperation('${operation}').profile`, () => valueFor(options.profile, parameters))
    return recordOperation(telemetry, { operation, provider: options.provider, profileId, caller }, async (): Promise<Resolved<F>> => {
      if (tokenUrl === undefined) return callWrapped(run, this, parameters)
      const permit = new Permit({ url: tokenUrl, lifetimeMs: PERMIT_LIFETIME_MS, uses: MOST_REQUESTS })
      try {
        return await carryPermit(permit, () => callWrapped(run, this, parameters))
      } finally {
        permit.close()
      }
    })
  }
  return watched as F
}
