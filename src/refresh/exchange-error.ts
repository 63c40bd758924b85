import type { StoredProfile } from '../domain/credential.ts'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { TokenJudgement } from '../providers/provider.ts'
import type { RefreshContext } from './refresh-context.ts'

/** Whose refresh it was. */
interface Exchanged {
  readonly context: Pick<RefreshContext, 'nameOf'>
  readonly profile: StoredProfile
}

/** The error for a login whose rotation was lost with the process that asked for it. */
export function lostAnswer({ context, profile }: Exchanged): GatewayError {
  const { pid, sentAt } = profile.pending ?? { pid: 0, sentAt: 0 }
  return new GatewayError(
    'GW_NEEDS_LOGIN',
    `profile ${context.nameOf(profile.id)} lost its login: process ${pid} sent the refresh token at ${new Date(sentAt).toISOString()} and its answer was never stored; the provider has taken the old token. Sign in again`,
    { next: 'sign_in_again' },
  )
}

/** The error for a refresh that is not even tried: what it would bring could not be kept. */
export function cannotDeclare({ nameOf }: RefreshContext, profile: StoredProfile, cause: unknown): GatewayError {
  const [next, why] = isGatewayError(cause) ? [cause.next, `: ${cause.message}`] : ['try_again_later' as const, '']
  return new GatewayError(
    'GW_REFRESH_FAILED',
    `profile ${nameOf(profile.id)} is not refreshed while a new token could not be stored${why}`,
    { next, cause },
  )
}

/** How long a refused client is left alone, in ms: only a corrected configuration helps. */
const CLIENT_RETRY_MS = 300_000

/** The error for a refresh whose client, not its grant, the provider refuses. */
export function clientRefused({ context, profile }: Exchanged, { providerCode }: TokenJudgement): GatewayError {
  const said = providerCode === undefined ? '' : ` (${providerCode})`
  return new GatewayError(
    'GW_REFRESH_FAILED',
    `${profile.provider} does not accept the client that refreshes profile ${context.nameOf(profile.id)}${said}: check the client id and secret (providers.${profile.provider}.clientId, clientSecretEnv); the login itself is not refused`,
    { next: 'check_client_credentials', outcome: 'refused', retryAfterMs: CLIENT_RETRY_MS },
  )
}

/** What is known of a failure that may pass. */
interface Transience {
  readonly what?: string
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

/** The error for a refresh that failed for now. */
export function transient(
  { context, profile }: { readonly context: Pick<RefreshContext, 'nameOf'>; readonly profile: Pick<StoredProfile, 'id'> },
  outcome: TokenRequestOutcome,
  { what = outcome, retryAfterMs, cause }: Transience,
): GatewayError {
  return new GatewayError(
    'GW_REFRESH_FAILED',
    `the refresh of profile ${context.nameOf(profile.id)} failed for now (${what}); it is tried again`,
    {
      next: 'try_again_later',
      outcome,
      ...(cause !== undefined && { cause }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    },
  )
}
