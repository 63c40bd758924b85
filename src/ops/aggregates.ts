import { Ring } from '../events/ring.ts'
import type { SpanRow } from '../events/span-row.ts'
import { AttemptBucket, WayBucket } from './call-counts.ts'
import {
  type AcquisitionFact,
  type AttemptFact,
  acquisitionFact,
  attemptFact,
  callFact,
  generationOf,
  type RefreshDetail,
  type RefreshFact,
  refreshFact,
  signInFact,
} from './span-facts.ts'
import { TimeBuckets } from './time-buckets.ts'

export interface AggregatesOptions {
  /** Refreshes, and acquisitions, that can be asked about one by one. @default 200_000 */
  mostFacts?: number
  /** Distinct stacks. @default 5_000 */
  mostStacks?: number
  /** Distinct profiles. @default 1_000 */
  mostProfiles?: number
}

export const AGGREGATES_DEFAULTS = {
  mostFacts: 200_000,
  mostStacks: 5_000,
  mostProfiles: 1_000,
} as const satisfies Required<AggregatesOptions>

/** The last request of a provider that was answered with a token and whose shape was seen. */
export interface GoodShape {
  readonly shape: string
  readonly fact: RefreshFact
}

/** What spans describe one profile. */
export interface ProfileAggregate {
  readonly profile: string
  provider: string
  lastRefresh: RefreshFact | undefined
  lastAttempt: AttemptFact | undefined
  generation: number | undefined
  /** The access token or key of the calls, and when it was seen first. */
  credential: { readonly fingerprint: string; readonly sinceMs: number } | undefined
  /** When a user signed in last, epoch ms. */
  signedInMs: number | undefined
}

/**
 * What the ops page counts: small facts of every span, so that a view is an aggregate over memory and never a walk
 * through the recorder. Bounded whatever comes; what goes first is the oldest.
 */
export class Aggregates {
  readonly attempts = new TimeBuckets(() => new AttemptBucket())
  readonly ways = new TimeBuckets(() => new WayBucket())
  readonly stacks = new Map<string, RefreshDetail>()
  readonly profiles = new Map<string, ProfileAggregate>()
  readonly #refreshes: Ring<RefreshFact>
  readonly #acquisitions: Ring<AcquisitionFact>
  readonly #goodShapes = new Map<string, GoodShape>()
  readonly #words = new Map<string, string>()
  readonly #bounds: Required<AggregatesOptions>
  #version = 0
  #sinceMs: number | undefined
  #bypasses = 0
  #replays = 0
  #fallbacks = 0
  #refreshCount = 0

  constructor(options: AggregatesOptions = {}) {
    this.#bounds = { ...AGGREGATES_DEFAULTS, ...options }
    this.#refreshes = new Ring(this.#bounds.mostFacts)
    this.#acquisitions = new Ring(this.#bounds.mostFacts)
  }

  /** Grows with every span. */
  get version(): number {
    return this.#version
  }

  /** Start of the oldest span that was counted. */
  get sinceMs(): number | undefined {
    return this.#sinceMs
  }

  get totals(): { refreshes: number; bypasses: number; replays: number; fallbacks: number } {
    return { refreshes: this.#refreshCount, bypasses: this.#bypasses, replays: this.#replays, fallbacks: this.#fallbacks }
  }

  /** Refreshes that had to make room. */
  get forgotten(): number {
    return this.#refreshes.dropped
  }

  /** The newest first, as they were added. */
  refreshes(): Iterable<RefreshFact> {
    return this.#refreshes.newestFirst()
  }

  acquisitions(): Iterable<AcquisitionFact> {
    return this.#acquisitions.newestFirst()
  }

  /** What the last good request to a provider looked like; of the same profile, where one was seen. */
  goodShape(provider: string, profile: string): GoodShape | undefined {
    return this.#goodShapes.get(`${provider}\0${profile}`) ?? this.#goodShapes.get(provider)
  }

  add(span: SpanRow): void {
    this.#version += 1
    if (this.#sinceMs === undefined || span.startMs < this.#sinceMs) this.#sinceMs = span.startMs
    const refresh = refreshFact(span)
    if (refresh) this.#addRefresh(refresh, span)
    const acquisition = acquisitionFact(span)
    if (acquisition)
      this.#acquisitions.push({ ...acquisition, caller: this.#word(acquisition.caller), profile: this.#word(acquisition.profile) })
    const attempt = attemptFact(span)
    if (attempt) this.#addAttempt(attempt)
    const signIn = signInFact(span)
    if (signIn) {
      const seen = this.#profile(signIn.profile, signIn.provider)
      if (seen) seen.signedInMs = Math.max(seen.signedInMs ?? 0, signIn.atMs)
    }
    const call = callFact(span)
    if (call) {
      if (call.steps.length > 1) this.#fallbacks += 1
      for (const bucket of this.ways.at(call.atMs)) bucket.add(call)
    }
  }

  #addRefresh({ detail, ...refresh }: RefreshFact & { readonly detail: RefreshDetail }, span: SpanRow): void {
    const fact: RefreshFact = {
      ...refresh,
      provider: this.#word(refresh.provider),
      profile: this.#word(refresh.profile),
      caller: this.#word(refresh.caller),
      reason: this.#word(refresh.reason),
      via: this.#word(refresh.via),
      outcome: this.#word(refresh.outcome),
      stackId: this.#word(refresh.stackId),
    }
    this.#refreshCount += 1
    if (fact.via === 'bypass') this.#bypasses += 1
    if (fact.replay) this.#replays += 1
    this.#refreshes.push(fact)
    if (fact.stackId !== '' && this.stacks.size < this.#bounds.mostStacks && !this.stacks.has(fact.stackId))
      this.stacks.set(fact.stackId, { ...detail, shape: undefined })
    if (!fact.failed && detail.shape !== undefined && fact.outcome !== '') {
      const good = { shape: detail.shape, fact }
      for (const key of [fact.provider, `${fact.provider}\0${fact.profile}`]) this.#keepNewest(key, good)
    }
    const seen = this.#profile(fact.profile, fact.provider)
    if (!seen) return
    if (!seen.lastRefresh || seen.lastRefresh.atMs <= fact.atMs) {
      seen.lastRefresh = fact
      seen.generation = generationAfter(fact, generationOf(span)) ?? seen.generation
    }
  }

  #addAttempt(attempt: AttemptFact): void {
    for (const bucket of this.attempts.at(attempt.endMs)) bucket.add(attempt)
    const seen = this.#profile(attempt.profile, attempt.provider)
    if (!seen) return
    if (!seen.lastAttempt || seen.lastAttempt.endMs <= attempt.endMs) seen.lastAttempt = attempt
    const { credential: fingerprint, endMs, durationMs } = attempt
    const sinceMs = endMs - durationMs
    const known = seen.credential
    if (fingerprint !== '' && fingerprint !== known?.fingerprint && sinceMs > (known?.sinceMs ?? 0))
      seen.credential = { fingerprint, sinceMs }
  }

  #keepNewest(key: string, good: GoodShape): void {
    const before = this.#goodShapes.get(key)
    if (before ? before.fact.atMs <= good.fact.atMs : this.#goodShapes.size < this.#bounds.mostProfiles) this.#goodShapes.set(key, good)
  }

  #profile(profile: string, provider: string): ProfileAggregate | undefined {
    let seen = this.profiles.get(profile)
    if (!seen && this.profiles.size < this.#bounds.mostProfiles) {
      seen = {
        profile,
        provider,
        lastRefresh: undefined,
        lastAttempt: undefined,
        generation: undefined,
        credential: undefined,
        signedInMs: undefined,
      }
      this.profiles.set(profile, seen)
    }
    return seen
  }

  /** One copy of a word that comes again and again: spans read from a file bring a new one each time. */
  #word(word: string): string {
    const known = this.#words.get(word)
    if (known !== undefined) return known
    if (this.#words.size < this.#bounds.mostStacks * 4) this.#words.set(word, word)
    return word
  }
}

/** A refresh records the generation it found; what it left behind is one more when it rotated. */
function generationAfter({ outcome }: RefreshFact, before: number | undefined): number | undefined {
  return before === undefined || outcome !== 'rotated' ? before : before + 1
}
