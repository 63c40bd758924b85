import { type CredentialMark, concerns, markOf } from '../domain/cooldown.ts'
import type { StoredProfile } from '../domain/credential.ts'
import type { AttemptOutcome, ProbeOutcome } from '../domain/enums.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { reasonOfAcquire } from './fallback.ts'
import { failsByCredential, VERDICTS } from './probe-verdict.ts'

/** The last probe of a profile. */
export interface LastProbe {
  readonly outcome: ProbeOutcome
  /** Seconds since it ended. */
  readonly ageSeconds: number
  /** It and the profile's own calls disagree about the credential. */
  readonly diverges: boolean
}

interface ProbeStateOptions {
  /** Whether calls leave the profile alone after a failure: for so long that failure is their last word. */
  isResting: (profile: StoredProfile) => boolean
  /** How long an outcome counts as recent, in ms. @default 900_000 */
  windowMs?: number
  /** How often profiles are probed, in ms: where that is rarer than the window, the last probe counts until the next one. */
  everyMs?: number | undefined
  clock?: Clock
}

export const PROBE_STATE_DEFAULTS = { windowMs: 15 * 60_000 } as const
/** By how much the next probe may be late. */
const PATIENCE = 1.5

/** What the gate says when it cannot get a profile a token; that a caller left or the store fails says nothing about the profile. */
const REFUSALS = ['GW_NEEDS_LOGIN', 'GW_REFRESH_FAILED', 'GW_REFRESH_BACKOFF', 'GW_ACQUIRE_TIMEOUT', 'GW_LEASE_TIMEOUT'] as const

/** What was seen of a profile, and when on the monotonic clock. */
interface Seen {
  readonly at: number
  readonly outcome: ProbeOutcome
  readonly credential: CredentialMark
}

/** What was seen at runtime; a refused acquisition is a failure of the credential whatever the word for it. */
interface SeenAtRuntime extends Seen {
  readonly of: 'attempt' | 'acquire'
}

/** What probes and calls last saw of each profile, and whether they agree. */
export class ProbeState {
  readonly #isResting: (profile: StoredProfile) => boolean
  readonly #windowMs: number
  readonly #clock: Clock
  readonly #probes = new Map<string, Seen>()
  readonly #runtime = new Map<string, SeenAtRuntime>()

  constructor({ isResting, windowMs = PROBE_STATE_DEFAULTS.windowMs, everyMs = 0, clock = systemClock }: ProbeStateOptions) {
    this.#isResting = isResting
    this.#windowMs = Math.max(windowMs, everyMs * PATIENCE)
    this.#clock = clock
  }

  /** Notes how a probe ended. */
  probed(profile: StoredProfile, outcome: ProbeOutcome): void {
    this.#probes.set(profile.id, this.#seen(profile, outcome))
  }

  /** Notes how a call's attempt ended. One that says nothing about the profile leaves standing what was said before. */
  attempted(profile: StoredProfile, outcome: AttemptOutcome): void {
    if (VERDICTS[outcome] !== 'silent') this.#runtime.set(profile.id, { of: 'attempt', ...this.#seen(profile, outcome) })
  }

  /** Notes the error of an acquisition that was no probe's. */
  acquireFailed(profile: StoredProfile, error: unknown): void {
    if (!isGatewayError(error, ...REFUSALS)) return
    this.#runtime.set(profile.id, { of: 'acquire', ...this.#seen(profile, reasonOfAcquire(error)) })
  }

  /** Notes that an acquisition got its token: no acquisition fails any more. The provider's last judgement of the token stays. */
  acquireAdmitted(profileId: string): void {
    if (this.#runtime.get(profileId)?.of === 'acquire') this.#runtime.delete(profileId)
  }

  /** The last probe of a profile; `undefined` when there was none, or it was about a credential that is gone. */
  lastOf(profile: StoredProfile): LastProbe | undefined {
    const probe = this.#probes.get(profile.id)
    if (!probe || !isAbout(probe, profile)) return undefined
    const ageSeconds = Math.round((this.#clock.monotonic() - probe.at) / 1000)
    return { outcome: probe.outcome, ageSeconds, diverges: this.#diverges(profile, probe) }
  }

  #seen({ credential }: StoredProfile, outcome: ProbeOutcome): Seen {
    return { outcome, at: this.#clock.monotonic(), credential: markOf(credential) }
  }

  #diverges(profile: StoredProfile, probe: Seen): boolean {
    const runtime = this.#runtime.get(profile.id)
    if (!runtime || !isAbout(runtime, profile) || !this.#isRecent(probe)) return false
    if (!this.#isRecent(runtime) && !this.#isResting(profile)) return false
    const runtimeFails = runtime.of === 'acquire' || failsByCredential(runtime.outcome)
    if (VERDICTS[probe.outcome] === 'good') return runtimeFails
    return failsByCredential(probe.outcome) && VERDICTS[runtime.outcome] === 'good'
  }

  #isRecent({ at }: Seen): boolean {
    return this.#clock.monotonic() - at <= this.#windowMs
  }
}

/** What was seen is about what the profile holds now: a refusal about that very token, anything else about its account. */
function isAbout({ outcome, credential }: Seen, profile: StoredProfile): boolean {
  const isOfToken = failsByCredential(outcome) && outcome !== 'billing'
  return concerns(isOfToken ? 'credential' : 'service', credential, profile)
}
