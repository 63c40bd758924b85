import { expiryOf, isOAuth } from '../domain/credential.ts'
import { PROFILE_STATES } from '../domain/enums.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { ProbeState } from './probe-state.ts'
import type { ProfileCache } from './profile-cache.ts'
import type { ProfileChoice } from './profile-choice.ts'

/** What is asked for the gauges. */
export interface GaugeSources {
  readonly telemetry: Telemetry
  readonly profiles: ProfileCache
  readonly probes: ProbeState
  readonly choice: ProfileChoice
}

/**
 * Observes the gauges of every profile there is now: state, whether it serves, expiry, generation, what its last probe
 * says. Called before each scrape and each export. What is not observed again is gone: a profile that was removed, the
 * expiry of a credential that has none, the generation of a login that a key replaced.
 */
export async function observeProfiles({ telemetry, profiles: profileCache, probes, choice }: GaugeSources): Promise<void> {
  const profiles = await profileCache.allCurrent()
  const { standings } = choice.readiness(profiles)
  // From here on nothing waits: a scrape sees either what was or what is.
  const gauges = telemetry.instruments.observe([
    'profileState',
    'profileServes',
    'tokenExpiry',
    'generation',
    'probeDivergence',
    'probeAge',
  ])
  for (const profile of profiles) {
    const { credential } = profile
    const labels = { provider: profile.provider, profile: telemetry.profile(profile.id) }
    const current = profileCache.stateOf(profile)
    for (const state of PROFILE_STATES) gauges.set('profileState', state === current ? 1 : 0, { ...labels, state })
    const standing = standings.get(profile.id)
    // Who the operator left out was never meant to serve: it is no outage of its provider.
    const isMeant = standing && (standing.serves || standing.reason !== 'excluded_by_order')
    if (isMeant) gauges.set('profileServes', standing.serves ? 1 : 0, labels)
    const expiresAt = expiryOf(credential)
    if (expiresAt !== undefined) gauges.set('tokenExpiry', Math.round(expiresAt / 1000), labels)
    if (isOAuth(credential)) gauges.set('generation', credential.generation, labels)
    const probe = probes.lastOf(profile)
    if (!probe) continue
    gauges.set('probeDivergence', probe.diverges ? 1 : 0, labels)
    gauges.set('probeAge', probe.ageSeconds, labels)
  }
  for (const { id } of profileCache.damaged) {
    const labels = { provider: 'unknown', profile: telemetry.profile(id) }
    for (const state of PROFILE_STATES) gauges.set('profileState', state === 'damaged' ? 1 : 0, { ...labels, state })
    gauges.set('profileServes', 0, labels)
  }
}
