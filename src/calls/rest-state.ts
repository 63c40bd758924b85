import {
  type Cooldown,
  concerns,
  graverAndLonger,
  LONGEST_REST_MS,
  markOf,
  nextCooldown,
  READY,
  type RestAnswer,
  restCauseOf,
} from '../domain/cooldown.ts'
import type { StoredProfile } from '../domain/credential.ts'
import type { AttemptOutcome } from '../domain/enums.ts'
import type { RestStore, StoredRest } from '../store/profile-store.ts'
import { type Clock, systemClock } from '../tools/clock.ts'

/** Begun before an attempt: which rests were known then. An outcome counts only against those. */
export type AttemptStart = number

/** How an attempt failed. */
interface AttemptFailure {
  readonly outcome: AttemptOutcome
  /** How long the provider asks to wait, in ms. */
  readonly retryAfterMs?: number | undefined
  /** The model whose limit was hit; without it the profile rests for every model. */
  readonly model?: string | undefined
  readonly answer?: RestAnswer | undefined
}

/** A rest, and when this process learnt of it, on the book's own count. */
interface Held {
  readonly rest: StoredRest
  readonly knownSince: number
}

/** Models of one profile that may rest apart; a caller that makes names up must not fill the memory. */
const MOST_MODELS = 100

interface RestStateOptions {
  clock?: Clock
  /** Where rests are shared with other processes; without it they are this process's own. */
  shared?: RestStore | undefined
  /** Called when rests could not be shared: they hold in this process all the same. */
  onStoreError?: (error: unknown) => void
}

/**
 * Which profiles rest, why, for which model and until when.
 *
 * What is asked is answered from memory. What changes here is written behind it, and what other processes of the state
 * folder wrote comes in with `look`.
 */
export class RestState {
  readonly #clock: Clock
  readonly #shared: RestStore | undefined
  readonly #onStoreError: (error: unknown) => void
  readonly #held = new Map<string, Map<string, Held>>()
  #learnt = 0
  #seen: string | undefined
  /** Profiles whose rests are being written: until then what is stored is behind. */
  readonly #writing = new Map<string, Promise<void>>()

  constructor({ clock = systemClock, shared, onStoreError = () => {} }: RestStateOptions = {}) {
    this.#clock = clock
    this.#shared = shared
    this.#onStoreError = onStoreError
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
    const known = this.#held.get(profile.id)?.get(keyOf({ cause, model: scope }))
    const isBehind = known !== undefined && known.knownSince > start
    const isOfAnother = known !== undefined && !concerns(cause, known.rest.credential, profile)
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
    const current: Cooldown = known && !isOfAnother ? { state: 'resting', ...known.rest } : READY
    const next = nextCooldown(current, event, this.#clock.now())
    if (next.state === 'ready' || next === current) return
    const { state: _state, ...rest } = next
    const mine: StoredRest = { profileId: profile.id, cause, ...(scope !== undefined && { model: scope }), ...rest }
    this.#hold(mine)
    this.#write(profile.id, stored => withRest(stored, mine))
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
    const over: StoredRest[] = []
    for (const { rest, knownSince } of held.values()) {
      const { cause, model } = rest
      const isProven = cause === 'credential' || (proves !== 'credential' && (model === undefined || model === proves.model))
      if (isProven && knownSince <= start) over.push(rest)
    }
    if (over.length === 0) return
    for (const rest of over) held.delete(keyOf(rest))
    if (held.size === 0) this.#held.delete(id)
    // One that another process has written since is not what this success was about.
    this.#write(id, stored => stored.filter(one => !over.some(rest => isSameRest(rest, one))))
  }

  /** Takes in what other processes of the state folder wrote since the last look. Never rejects. */
  async look(): Promise<void> {
    try {
      const news = await this.#shared?.changed(this.#seen)
      if (!news) return
      const ids = new Set([...this.#held.keys(), ...news.rests.map(({ profileId }) => profileId)])
      for (const id of ids)
        this.#take(
          id,
          news.rests.filter(({ profileId }) => profileId === id),
        )
      this.#seen = news.seen
    } catch (error) {
      this.#onStoreError(error)
    }
  }

  /** Waits until everything is written that is to be shared. Never rejects. */
  async settled(): Promise<void> {
    while (this.#writing.size > 0) await Promise.all(this.#writing.values())
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
  restOf(profile: StoredProfile, model?: string): StoredRest | undefined {
    return this.restsOf(profile).find(rest => rest.model === undefined || rest.model === model)
  }

  /** Every rest that is under way and concerns what the profile holds now, the longest first. */
  restsOf(profile: StoredProfile): readonly StoredRest[] {
    const held = this.#held.get(profile.id)
    if (!held) return []
    const now = this.#clock.now()
    return [...held.values()]
      .map(({ rest }) => rest)
      .filter(({ cause, until, credential }) => until > now && concerns(cause, credential, profile))
      .sort((one, other) => other.until - one.until)
  }

  /** Says whether the provider refused the very token that the profile holds, however long ago, and nothing has worked with it since. */
  isRefused(profile: StoredProfile): boolean {
    const refused = this.#held.get(profile.id)?.get(keyOf({ cause: 'credential' }))
    return refused !== undefined && concerns('credential', refused.rest.credential, profile)
  }

  /** Forgets rests of profiles that are gone, and those that were over long ago. */
  retain(profileIds: ReadonlySet<string>): void {
    const longAgo = this.#clock.now() - LONGEST_REST_MS
    for (const [id, held] of this.#held) {
      for (const [key, { rest }] of held) if (rest.until < longAgo) held.delete(key)
      if (held.size === 0 || !profileIds.has(id)) this.#held.delete(id)
    }
  }

  #hold(rest: StoredRest): void {
    const held = this.#held.get(rest.profileId) ?? new Map<string, Held>()
    this.#held.set(rest.profileId, held)
    const key = keyOf(rest)
    const known = held.get(key)
    if (known && isSameRest(known.rest, rest)) return
    if (!known && held.size > MOST_MODELS) dropSoonest(held)
    this.#learnt += 1
    held.set(key, { rest, knownSince: this.#learnt })
  }

  /** Takes what is stored of a profile for what holds, unless something newer of ours is on its way there. */
  #take(profileId: string, stored: readonly StoredRest[]): void {
    if (this.#writing.has(profileId)) return
    const held = this.#held.get(profileId)
    const keys = new Set(stored.map(keyOf))
    for (const key of held?.keys() ?? []) if (!keys.has(key)) held?.delete(key)
    if (held?.size === 0) this.#held.delete(profileId)
    for (const rest of stored) this.#hold(rest)
  }

  #write(profileId: string, update: (stored: readonly StoredRest[]) => readonly StoredRest[]): void {
    const shared = this.#shared
    if (!shared) return
    const before = this.#writing.get(profileId) ?? Promise.resolve()
    const mine: Promise<void> = before.then(async () => {
      let stored: readonly StoredRest[] | undefined
      try {
        stored = await shared.change(profileId, update)
      } catch (error) {
        this.#onStoreError(error)
      }
      if (this.#writing.get(profileId) !== mine) return
      this.#writing.delete(profileId)
      if (stored) this.#take(profileId, stored)
    })
    this.#writing.set(profileId, mine)
  }
}

function keyOf({ cause, model }: Pick<StoredRest, 'cause' | 'model'>): string {
  return model === undefined ? cause : `${cause}\0${model}`
}

function isSameRest(one: StoredRest, other: StoredRest): boolean {
  return (
    keyOf(one) === keyOf(other) &&
    one.since === other.since &&
    one.until === other.until &&
    one.because === other.because &&
    one.credential.bearer === other.credential.bearer
  )
}

/** What is stored with another rest: of the same credential the longer and the graver holds, of another one the later. */
function withRest(stored: readonly StoredRest[], mine: StoredRest): readonly StoredRest[] {
  const known = stored.find(one => keyOf(one) === keyOf(mine))
  if (!known) return [...stored, mine].slice(-MOST_MODELS)
  const isOfSame = known.credential.bearer === mine.credential.bearer
  const isUnderWay = isOfSame && known.until > mine.since
  const next = isUnderWay ? graverAndLonger(known, mine) : known.since > mine.since ? known : mine
  return next === known ? stored : stored.map(one => (one === known ? next : one))
}

function dropSoonest(held: Map<string, Held>): void {
  const [soonest] = [...held]
    .filter(([, { rest }]) => rest.model !== undefined)
    .sort(([, one], [, other]) => one.rest.until - other.rest.until)
  if (soonest) held.delete(soonest[0])
}
