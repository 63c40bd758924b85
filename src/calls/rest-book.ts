import type { AttemptOutcome } from '../../otel/words.ts'
import {
  type Cooldown,
  concerns,
  isResting,
  LONGEST_REST_MS,
  markOf,
  nextCooldown,
  READY,
  type Rest,
  type RestAnswer,
  type RestCause,
  restCauseOf,
} from '../domain/cooldown.ts'
import type { StoredProfile } from '../domain/credential.ts'
import { type Clock, systemClock } from '../tools/clock.ts'

/** Begun before an attempt: which rests were known then. An outcome counts only against those. */
export type AttemptStart = number

/** How an attempt failed. */
export interface AttemptFailure {
  readonly outcome: AttemptOutcome
  /** How long the provider asks to wait, in ms. */
  readonly retryAfterMs?: number | undefined
  /** The model whose limit was hit; without it the profile rests for every model. */
  readonly model?: string | undefined
  readonly answer?: RestAnswer | undefined
}

/** A rest that is under way and concerns what the profile holds now. */
export interface ActiveRest extends Rest {
  readonly cause: RestCause
  /** The one model that rests; absent where the profile rests for all. */
  readonly model?: string
}

/** What is known of one profile for one cause, and one model where it is that model's. */
interface Held {
  readonly cause: RestCause
  readonly model: string | undefined
  readonly cooldown: Extract<Cooldown, { state: 'resting' }>
  /** When this process learnt of it, on the book's own count. */
  readonly knownSince: number
}

/** Models of one profile that may rest apart; a caller that makes names up must not fill the memory. */
const MOST_MODELS = 100

/** Which profiles rest, why, for whom and until when. */
export class RestBook {
  readonly #clock: Clock
  readonly #held = new Map<string, Map<string, Held>>()
  #learnt = 0

  constructor({ clock = systemClock }: { clock?: Clock } = {}) {
    this.#clock = clock
  }

  /** Takes what is known now, for an attempt that begins. */
  begin(): AttemptStart {
    return this.#learnt
  }

  /** Notes a failed attempt. @param profile As the attempt used it. */
  failed(profile: StoredProfile, start: AttemptStart, { outcome, retryAfterMs, model, answer }: AttemptFailure): void {
    const cause = restCauseOf(outcome)
    if (!cause) return
    const scope = cause === 'service' ? model : undefined
    const known = this.#held.get(profile.id)?.get(keyOf(cause, scope))
    const isBehind = known !== undefined && known.knownSince > start
    const isOfAnother = known !== undefined && !concerns(cause, known.cooldown.credential, profile)
    // What a newer credential met is not taken back by the straggler of an older one.
    if (isOfAnother && isBehind) return
    const event = {
      type: 'failed' as const,
      outcome,
      isBehind,
      credential: markOf(profile.credential),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(answer && { answer }),
    }
    const current = known && !isOfAnother ? known.cooldown : READY
    const next = nextCooldown(current, event, this.#clock.now())
    if (next.state === 'resting' && next !== current) this.#hold(profile.id, cause, scope, next)
  }

  /**
   * Notes a success: it ends the rests that were known when its attempt began.
   *
   * @param proves What it proves: a good answer of a model that nothing limits it and that the credential works; a listing
   *   of models the latter alone.
   */
  succeeded({ id }: StoredProfile, start: AttemptStart, proves: { readonly model: string } | 'credential'): void {
    const held = this.#held.get(id)
    if (!held) return
    for (const [key, { cause, model, knownSince }] of held) {
      const isProven = cause === 'credential' || (proves !== 'credential' && (model === undefined || model === proves.model))
      if (isProven && knownSince <= start) held.delete(key)
    }
    if (held.size === 0) this.#held.delete(id)
  }

  /** Ends every rest of a profile. @returns Whether there was one. */
  wake(profileId: string): boolean {
    return this.#held.delete(profileId)
  }

  /** The profile failed lately, whatever it holds now. */
  knows(profileId: string): boolean {
    return this.#held.has(profileId)
  }

  /** Says whether calls leave the profile alone. @param model For this model; without it, for every model. */
  isResting(profile: StoredProfile, model?: string): boolean {
    return this.#held.has(profile.id) && this.restOf(profile, model) !== undefined
  }

  /** The rest that lasts longest for calls of this model. */
  restOf(profile: StoredProfile, model?: string): ActiveRest | undefined {
    let longest: ActiveRest | undefined
    for (const rest of this.restsOf(profile)) {
      if (rest.model !== undefined && rest.model !== model) continue
      if (!longest || rest.until > longest.until) longest = rest
    }
    return longest
  }

  /** Every rest that is under way and concerns what the profile holds now, the longest first. */
  restsOf(profile: StoredProfile): readonly ActiveRest[] {
    const held = this.#held.get(profile.id)
    if (!held) return []
    const now = this.#clock.now()
    return [...held.values()]
      .filter(({ cause, cooldown }) => isResting(cooldown, now) && concerns(cause, cooldown.credential, profile))
      .map(({ cause, model, cooldown: { state: _state, ...rest } }) => ({ ...rest, cause, ...(model !== undefined && { model }) }))
      .sort((one, other) => other.until - one.until)
  }

  /** Says whether the provider refused the very token that the profile holds, however long ago, and nothing has worked with it since. */
  isRefused(profile: StoredProfile): boolean {
    const refused = this.#held.get(profile.id)?.get(keyOf('credential', undefined))
    return refused !== undefined && concerns('credential', refused.cooldown.credential, profile)
  }

  /** Forgets rests of profiles that are gone, and those that were over long ago. */
  retain(profileIds: ReadonlySet<string>): void {
    const longAgo = this.#clock.now() - LONGEST_REST_MS
    for (const [id, held] of this.#held) {
      for (const [key, { cooldown }] of held) if (cooldown.until < longAgo) held.delete(key)
      if (held.size === 0 || !profileIds.has(id)) this.#held.delete(id)
    }
  }

  #hold(profileId: string, cause: RestCause, model: string | undefined, cooldown: Held['cooldown']): void {
    const held = this.#held.get(profileId) ?? new Map<string, Held>()
    this.#held.set(profileId, held)
    const key = keyOf(cause, model)
    if (!held.has(key) && held.size > MOST_MODELS) dropSoonest(held)
    this.#learnt += 1
    held.set(key, { cause, model, cooldown, knownSince: this.#learnt })
  }
}

function keyOf(cause: RestCause, model: string | undefined): string {
  return model === undefined ? cause : `${cause}\0${model}`
}

function dropSoonest(held: Map<string, Held>): void {
  const [soonest] = [...held]
    .filter(([, { model }]) => model !== undefined)
    .sort(([, one], [, other]) => one.cooldown.until - other.cooldown.until)
  if (soonest) held.delete(soonest[0])
}
