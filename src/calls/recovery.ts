import { type CallerSite, clientCaller } from '../domain/caller-site.ts'
import { bearerFingerprint, type StoredProfile } from '../domain/credential.ts'
import type { RefreshGate } from '../refresh/refresh-gate.ts'
import type { ProfileCache } from './profile-cache.ts'
import type { Readiness } from './profile-choice.ts'

/** Who acquires a token at the gate for a gateway that is not ready. */
const RECOVERY_CALLER: CallerSite = clientCaller('readiness')

interface RecoveryOptions {
  readonly gate: RefreshGate
  readonly profiles: ProfileCache
}

/**
 * Begins the refresh of one profile again where no call can be served, since refreshes failed. Code that routes by `/readyz`
 * sends no call to such a gateway, and without a call nothing would find out that the token endpoint works again. At most
 * one token request per profile after each pause of the gate.
 *
 * @returns when that refresh has ended, well or not: its spans say how. Never rejects.
 */
export async function tryToRecover(
  { gate, profiles: profileCache }: RecoveryOptions,
  profiles: readonly StoredProfile[],
  readiness: Readiness,
): Promise<void> {
  if (readiness.canServe) return
  const profile = profiles.find(one => {
    const standing = readiness.standings.get(one.id)
    return standing && !standing.serves && standing.reason === 'refresh_paused' && gate.isFree(one)
  })
  if (!profile) return
  const reason = profileCache.needs(profile)
  const rejected = reason ? undefined : bearerFingerprint(profile.credential)
  const acquisition = { provider: profile.provider, profileId: profile.id, caller: RECOVERY_CALLER, reason: reason ?? 'rejected' } as const
  await gate.acquire({ ...acquisition, ...(rejected && { rejected }) }).catch(() => undefined)
}
