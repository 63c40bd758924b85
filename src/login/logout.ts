import type { CallerSite } from '../domain/caller-site.ts'
import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Provider } from '../providers/provider.ts'
import type { Lease, ProfileStore } from '../store/profile-store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { oauthParty } from '../token-requests/oauth-request.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { revocable, revoke } from './revocation.ts'

/** What a logout is made with. */
interface LogoutOptions {
  readonly store: ProfileStore
  readonly telemetry: Telemetry
  /** The provider of a profile. @throws {GatewayError} `GW_CONFIG` */
  readonly providerOf: (providerId: string) => Provider
  readonly profileId: string
  readonly caller: CallerSite
  readonly signal: AbortSignal
  /** Forgets the profile even if the provider does not take the login back. @default false */
  readonly force?: boolean
  readonly clock?: Clock
}

/** What a logout came to: given back to the provider, kept by it, or nothing to give back. */
export interface LoggedOut {
  readonly revoked: 'revoked' | 'not_revoked' | 'nothing_to_revoke'
  /** Why it was not revoked. */
  readonly error?: GatewayError
}

/** A refresh under way ends sooner, or something is wrong with its process. */
const LEASE_WAIT_MS = 10_000

/**
 * Revokes a login at its provider and deletes the profile. Holds the profile's lease: a concurrent refresh would bring a token that
 * is never revoked.
 *
 * @throws {GatewayError} `GW_PROFILE_UNKNOWN`, `GW_LEASE_TIMEOUT` or `GW_PROFILE_IN_USE` while another process refreshes it,
 *   `GW_REVOKE_FAILED` unless `force`, or a store's code. The profile is as it was then.
 */
export async function logout(options: LogoutOptions): Promise<LoggedOut> {
  const { store, profileId, force = false } = options
  return withQuietProfile(options, async profile => {
    const result = await revoked(options, profile)
    if (result.error && !force) {
      throw new GatewayError(
        'GW_REVOKE_FAILED',
        `${result.error.message}; the profile was not forgotten. --force forgets it here all the same, and the login lives on at the provider`,
        { next: result.error.next, cause: result.error },
      )
    }
    await store.change(profileId, () => undefined)
    return result
  })
}

/**
 * Runs `work` on a profile that no other process is refreshing, and none can begin to.
 *
 * @throws {GatewayError} `GW_PROFILE_UNKNOWN`, `GW_LEASE_TIMEOUT`; `GW_PROFILE_IN_USE` while another process holds a token
 *   that it could not store.
 */
export async function withQuietProfile<T>(
  { store, telemetry, profileId, force = false }: Pick<LogoutOptions, 'store' | 'telemetry' | 'profileId' | 'force'>,
  work: (profile: StoredProfile) => Promise<T>,
): Promise<T> {
  const name = telemetry.profile(profileId)
  let lease: Lease | undefined
  // Asked first, so that a name that is mistyped leaves no trace of a lease.
  if (!(await store.reload(profileId))) throw unknown(name)
  try {
    lease = await store.lease(profileId, { waitMs: LEASE_WAIT_MS })
    const profile = await store.reload(profileId)
    if (!profile) throw unknown(name)
    if (profile.pending && !force && isAlive(profile.pending.pid)) {
      throw new GatewayError(
        'GW_PROFILE_IN_USE',
        `process ${profile.pending.pid} has sent the refresh token of profile ${name} and not stored the answer yet, which may hold a newer one. Wait until it has, or end that process; --force goes on without it`,
        { next: 'try_again_later' },
      )
    }
    return await work(profile)
  } finally {
    await lease?.release()
  }
}

async function revoked(options: LogoutOptions, { provider, credential }: StoredProfile): Promise<LoggedOut> {
  const grant = isOAuth(credential) ? revocable(credential) : undefined
  if (!grant) return { revoked: 'nothing_to_revoke' }
  try {
    const { telemetry, profileId, caller, signal, clock = systemClock, providerOf } = options
    await revoke({ telemetry, profileId, caller, signal, clock, party: oauthParty(providerOf(provider)), ...grant })
    return { revoked: 'revoked' }
  } catch (error) {
    if (!isGatewayError(error, 'GW_REVOKE_FAILED', 'GW_CONFIG')) throw error
    return { revoked: 'not_revoked', error }
  }
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function unknown(name: string): GatewayError {
  return new GatewayError('GW_PROFILE_UNKNOWN', `the state folder holds no profile ${name}; gatewatch profiles lists those there are`, {
    next: 'add_profile',
  })
}
