import { PROFILE_STATES } from '../../otel/words.ts'
import { isOAuth } from '../domain/credential.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { ProbeBook } from './probe-book.ts'
import type { ProfileBook } from './profile-book.ts'

/** Sets the gauges of every profile: state, expiry, generation, what its last probe says. Called before each scrape and each export. */
export async function setProfileGauges(telemetry: Telemetry, book: ProfileBook, probes: ProbeBook): Promise<void> {
  for (const listed of await book.list()) {
    const profile = await book.current(listed)
    const labels = { provider: profile.provider, profile: telemetry.profile(profile.id) }
    const current = book.stateOf(profile)
    for (const state of PROFILE_STATES) telemetry.instruments.set('profileState', state === current ? 1 : 0, { ...labels, state })
    const probe = probes.lastOf(profile.id)
    if (probe) {
      telemetry.instruments.set('probeDivergence', probe.diverges ? 1 : 0, labels)
      telemetry.instruments.set('probeAge', probe.ageSeconds, labels)
    }
    if (!isOAuth(profile.credential)) continue
    telemetry.instruments.set('generation', profile.credential.generation, labels)
    if (profile.credential.expiresAt !== undefined)
      telemetry.instruments.set('tokenExpiry', Math.round(profile.credential.expiresAt / 1000), labels)
  }
}
