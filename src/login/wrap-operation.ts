import { SPAN_EXCHANGE, SPAN_LOGIN, SPAN_REVOKE } from '../../otel/semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import { carryPermit, Permit } from '../providers/permit.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { recordOperation } from './operation-record.ts'

/** The OAuth operations in addition to the refresh, by their spans. */
export const WRAPPED_OPERATIONS = { login: SPAN_LOGIN, exchange: SPAN_EXCHANGE, revoke: SPAN_REVOKE } as const
export type WrappedOperation = keyof typeof WRAPPED_OPERATIONS

/**
 * How the arguments of another caller's OAuth operation are read. A callback that throws is reported once through `diag` and
 * `onFault`, and the operation runs as if it were not wrapped.
 */
export interface WrapOperationOptions<A extends unknown[]> {
  provider: string
  /** Which profile it is about. @default none is recorded */
  profile?: (...parameters: A) => string
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
}

const PROFILE_OPTION = {
  login: 'the option wrapLogin.profile',
  exchange: 'the option wrapExchange.profile',
  revoke: 'the option wrapRevoke.profile',
} as const satisfies Record<WrappedOperation, string>

/** A login may wait for a person; its permit is good for as long as a device code. @see RFC 8628 section 3.2 */
const PERMIT_LIFETIME_MS = 15 * 60_000
const MOST_REQUESTS = 200

/**
 * Wraps a login, code exchange or revocation that the application wrote: a span with the caller site, and a permit, since
 * its token requests are meant and are no bypass.
 *
 * @returns A function with the same `this`, arguments, result and errors.
 */
export function wrapOperation<A extends unknown[], R>(
  telemetry: Telemetry,
  tokenUrl: string | undefined,
  operation: WrappedOperation,
  run: (...parameters: A) => Promise<R>,
  options: WrapOperationOptions<A>,
): (...parameters: A) => Promise<R> {
  return function watched(this: unknown, ...parameters: A): Promise<R> {
    const caller = takeCallerSite(watched)
    const profileId = telemetry.faults.text(PROFILE_OPTION[operation], () => options.profile?.(...parameters))
    return recordOperation(telemetry, { operation, provider: options.provider, profileId, caller }, async () => {
      if (tokenUrl === undefined) return Reflect.apply(run, this, parameters)
      const permit = new Permit({ url: tokenUrl, lifetimeMs: PERMIT_LIFETIME_MS, uses: MOST_REQUESTS })
      try {
        return await carryPermit(permit, () => Reflect.apply(run, this, parameters))
      } finally {
        permit.close()
      }
    })
  }
}
