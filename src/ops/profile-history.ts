import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { StateSpan } from './api-types.ts'

/** Changes of state that are kept of each profile, and profiles. */
const MOST_CHANGES = 500
const MOST_PROFILES = 1_000
const GONE = ''

/** Which state each profile was in over time, from snapshots taken now and then. */
export class ProfileHistory {
  readonly #states = new Map<string, { state: string; fromMs: number }[]>()

  /** Notes the state of every profile there is; one that is missing is gone, and has no state from then on. */
  note(snapshots: readonly Pick<ProfileSnapshot, 'profile' | 'state'>[], nowMs: number): void {
    const present = new Set(snapshots.map(({ profile }) => profile))
    for (const [profile, states] of this.#states) {
      if (!present.has(profile) && states.at(-1)?.state !== GONE) states.push({ state: GONE, fromMs: nowMs })
    }
    for (const { profile, state } of snapshots) {
      const states = this.#states.get(profile) ?? []
      if (states.at(-1)?.state === state) continue
      if (states.length === 0 && this.#states.size >= MOST_PROFILES) continue
      states.push({ state, fromMs: nowMs })
      if (states.length > MOST_CHANGES) states.shift()
      this.#states.set(profile, states)
    }
  }

  /** The states of a profile within a span of time, the oldest first. */
  between(profile: string, fromMs: number, toMs: number): StateSpan[] {
    const states = this.#states.get(profile) ?? []
    return states
      .map(({ state, fromMs: began }, index) => ({
        state,
        fromMs: Math.max(began, fromMs),
        toMs: Math.min(states[index + 1]?.fromMs ?? toMs, toMs),
      }))
      .filter(span => span.state !== GONE && span.toMs >= span.fromMs)
  }
}
