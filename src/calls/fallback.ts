import { type AttemptOutcome, PROBE_OUTCOMES, type SkipReason, type TokenRequestOutcome } from '../domain/enums.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'

/** What a call does after an attempt that did not succeed. */
type AfterAttempt = 'next' | 'stop'

/**
 * Whether another profile may help. A request the provider could not read will not be read by the next one either, and
 * a caller who is gone wants nothing any more.
 */
export const AFTER_ATTEMPT = {
  ok: 'stop',
  aborted: 'stop',
  format: 'stop',
  auth: 'next',
  auth_permanent: 'next',
  billing: 'next',
  rate_limit: 'next',
  overloaded: 'next',
  timeout: 'next',
  server_error: 'next',
  model_not_found: 'next',
} as const satisfies Record<AttemptOutcome, AfterAttempt>

/** Why a profile was given up: how its attempt ended, why it was passed over, or how its refresh failed. */
export type FallbackReason = AttemptOutcome | SkipReason | TokenRequestOutcome
/** A profile is given up for what a probe of it can end in. */
export const FALLBACK_REASONS: readonly FallbackReason[] = PROBE_OUTCOMES

/** The reason in a profile that was passed over: of a refresh that is paused, how it failed. */
export function reasonOfSkip({ reason, because }: { reason: SkipReason; because?: AttemptOutcome | TokenRequestOutcome }): FallbackReason {
  return reason === 'refresh_paused' ? (because ?? reason) : reason
}

/** The reason in an acquisition that the gate refused. */
export function reasonOfAcquire(error: unknown): FallbackReason {
  if (isGatewayError(error, 'GW_NEEDS_LOGIN')) return 'needs_login'
  if (isGatewayError(error, 'GW_ACQUIRE_TIMEOUT')) return 'timeout'
  if (isGatewayError(error, 'GW_PROFILE_UNKNOWN')) return 'missing_credential'
  if (isGatewayError(error, 'GW_LEASE_TIMEOUT')) return 'contention'
  return (error instanceof GatewayError ? error.outcome : undefined) ?? 'unavailable'
}
