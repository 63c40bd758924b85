import { SPAN_EXCHANGE, SPAN_LOGIN, SPAN_REVOKE } from '../../otel/names.ts'
import { carryPermit, Permit } from '../providers/permit.ts'
import { takeCallerSite } from '../telemetry/caller.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { recordOperation } from './operation-record.ts'

/** The OAuth operations besides the refresh, by their spans. */
export const OAUTH_OPERATIONS = { login: SPAN_LOGIN, exchange: SPAN_EXCHANGE, revoke: SPAN_REVOKE } as const
export type OAuthOperation = keyof typeof OAUTH_OPERATIONS

/** How the arguments of somebody else's OAuth operation are read. */
export interface WrapOperationOptions<A extends unknown[]> {
  provider: string
  profile?: (...parameters: A) => string
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
}

/** A login may wait for a person; its permit is good for as long as a device code. @see RFC 8628 section 3.2 */
const PERMIT_LIFETIME_MS = 15 * 60_000
const MOST_REQUESTS = 200

/**
 * Wraps a login, code exchange or revocation that somebody else wrote: a span with the caller site, and a permit, since
 * its token requests are meant and are no bypass.
 *
 * @returns A function with the same `this`, arguments, result and errors.
 */
export function wrapOperation<A extends unknown[], R>(
  telemetry: Telemetry,
  tokenUrl: string | undefined,
  operation: OAuthOperation,
  run: (...parameters: A) => Promise<R>,
  options: WrapOperationOptions<A>,
): (...parameters: A) => Promise<R> {
  return function watched(this: unknown, ...parameters: A): Promise<R> {
    const profileId = options.profile?.(...parameters)
    const facts = { operation, provider: options.provider, profileId, caller: takeCallerSite(watched) }
    return recordOperation(telemetry, facts, async () => {
      if (tokenUrl === undefined) return Reflect.apply(run, this, parameters)
      const permit = new Permit({ url: tokenUrl, lifetimeMs: PERMIT_LIFETIME_MS, uses: MOST_REQUESTS })
      return carryPermit(permit, () => Reflect.apply(run, this, parameters)).finally(() => permit.close())
    })
  }
}
