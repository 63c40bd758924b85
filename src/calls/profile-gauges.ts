import { expiryOf, isOAuth, type StoredProfile } from '../domain/credential.ts'
import { PROFILE_STATES, type ProfileState } from '../domain/enums.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { ProbeState } from './probe-state.ts'
import type { ProfileCache } from './profile-cache.ts'
import type { ProfileChoice, ProfileStanding } from './profile-choice.ts'
import type { ReportedProfile, ReportedProfiles } from './reported-profiles.ts'

type Gauges = ReturnType<Telemetry['instruments']['observe']>

/** What is asked for the gauges. */
interface GaugeSources {
  readonly telemetry: Telemetry
  readonly profiles: ProfileCache
  readonly reported: ReportedProfiles
  readonly probes: ProbeState
  readonly choice: ProfileChoice
}

/**
 * Observes the gauges of every profile there is now: state, whether it serves, expiry, generation, what its last probe
 * says. Called before each scrape and each export. What is not observed again is gone: a profile that was removed, the
 * expiry of a credential that has none, the generation of a login that a key replaced.
 */
export async function observeProfiles(sources: GaugeSources): Promise<void> {
  const { telemetry, profiles: profileCache, choice } = sources
  const [profiles, reported] = await Promise.all([profileCache.allCurrent(), sources.reported.all()])
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
  for (const profile of reported) observeReported(gauges, profile)
  for (const profile of profiles) observeProfile(gauges, profile, standings.get(profile.id), sources)
  for (const { id } of profileCache.damaged) {
    const labels = { provider: 'unknown', profile: telemetry.profile(id) }
    setState(gauges, 'damaged', labels)
    gauges.set('profileServes', 0, labels)
  }
}

function observeProfile(
  gauges: Gauges,
  profile: StoredProfile,
  standing: ProfileStanding | undefined,
  { telemetry, profiles, probes }: GaugeSources,
): void {
  const { credential } = profile
  const labels = { provider: profile.provider, profile: telemetry.profile(profile.id) }
  setState(gauges, profiles.stateOf(profile), labels)
  // Who the operator left out was never meant to serve: it is no outage of its provider.
  const isMeant = standing && (standing.serves || standing.reason !== 'excluded_by_order')
  if (isMeant) gauges.set('profileServes', standing.serves ? 1 : 0, labels)
  const expiresAt = expiryOf(credential)
  if (expiresAt !== undefined) gauges.set('tokenExpiry', Math.round(expiresAt / 1000), labels)
  if (isOAuth(credential)) gauges.set('generation', credential.generation, labels)
  const probe = probes.lastOf(profile)
  if (!probe) return
  gauges.set('probeDivergence', probe.diverges ? 1 : 0, labels)
  gauges.set('probeAge', probe.ageSeconds, labels)
}

/** Whether a profile serves is shown only where all profiles of the application are: of one that was noted alone the others are not known. */
function observeReported(gauges: Gauges, { provider, profile, state, serves, isObserved, expiresAt, generation }: ReportedProfile): void {
  const labels = { provider, profile }
  setState(gauges, state, labels)
  if (isObserved) gauges.set('profileServes', serves ? 1 : 0, labels)
  if (expiresAt !== undefined) gauges.set('tokenExpiry', Math.round(expiresAt / 1000), labels)
  if (generation !== undefined) gauges.set('generation', generation, labels)
}

function setState(gauges: Gauges, current: ProfileState, labels: { readonly provider: string; readonly profile: string }): void {
  for (const state of PROFILE_STATES) gauges.set('profileState', state === current ? 1 : 0, { ...labels, state })
}
