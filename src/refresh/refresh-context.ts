import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Registry } from '../providers/registry.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import type { Clock } from '../tools/clock.ts'
import type { ForcedPolicy } from './acquire.ts'
import type { PendingWrites } from './pending-writes.ts'

/** Where a refresh is; each step is said before the next begins. At `request_sent` the connection stands and nothing has left. */
export type RefreshStep = 'lease_held' | 'request_sent' | 'answer_received' | 'persisted' | 'published'

export interface RefreshOptions {
  /** Longest wait for the lease of a profile, in ms. @default 90_000 */
  leaseWaitMs: number
  /** How long acquisitions wait for the token endpoint's answer, in ms; the refresh listens on. @default 20_000 */
  requestTimeoutMs: number
  /** How long a refresh listens for the token endpoint's answer under its lease, in ms: hanging up would lose a rotation. @default 300_000 */
  listenMs: number
  /** How long before expiry a token counts as expiring, in ms. @default 120_000 */
  earlyMs: number
  /** What a forced acquisition with a usable token gets. @default 'reuse' */
  forced: ForcedPolicy
}

/** What every refresh of a gate shares. */
export interface RefreshContext {
  readonly store: ProfileStore
  readonly registry: Registry
  readonly clock: Clock
  readonly options: RefreshOptions
  readonly pendingWrites: PendingWrites
  /** The profile's name as messages may show it. */
  nameOf(profileId: string): string
  onStep?(step: RefreshStep): void
}

/** How a refresh ended: with a profile that can be used, or with an error for all who waited. */
export type RefreshResult =
  | { readonly outcome: TokenRequestOutcome; readonly profile: StoredProfile; readonly error?: undefined }
  | FailedRefresh

/** A refresh that brought no token. */
export interface FailedRefresh {
  readonly outcome: TokenRequestOutcome
  readonly profile?: undefined
  readonly error: GatewayError
  /** The narrowest class of the failure that is still bounded, `ECONNRESET`. @default the error's own */
  readonly errorType?: string
}

/** What is known to be dead about the grant the profile holds now; a newer login is not affected. */
export function deadGrant(profile: StoredProfile): StoredProfile['needsLogin'] {
  if (!profile.needsLogin || !isOAuth(profile.credential)) return undefined
  return profile.needsLogin.refreshFingerprint === fingerprint(profile.credential.refresh) ? profile.needsLogin : undefined
}

/** The error for everybody who wants a token of a dead grant. */
export function needsLogin({ nameOf }: Pick<RefreshContext, 'nameOf'>, profile: StoredProfile, outcome: string): GatewayError {
  return new GatewayError('GW_NEEDS_LOGIN', `profile ${nameOf(profile.id)} cannot be refreshed any more (${outcome}): sign in again`, {
    next: 'sign_in_again',
  })
}

/** The error for a profile that is not in the store. */
export function unknownProfile({ nameOf }: Pick<RefreshContext, 'nameOf'>, profileId: string): GatewayError {
  return new GatewayError(
    'GW_PROFILE_UNKNOWN',
    `the store holds no OAuth credential for profile ${nameOf(profileId)}: sign in or import it`,
    { next: 'add_profile' },
  )
}
