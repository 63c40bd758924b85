import type { Rest } from '../domain/cooldown.ts'
import { type Clock, systemClock } from '../tools/clock.ts'

const LONGEST_PACE_MS = 60_000
const SHORTEST_PACE_MS = 1_000
/** Attempts that a rest of our own guess may cost. */
const ATTEMPTS_PER_GUESS = 6
const MOST_PLACES = 10_000

/** What a call may do with a profile that rests: send its attempt, or leave it alone. `over`: it does not rest any more. */
export type Admittance = { readonly attempt: 'paced'; leave(): void } | { readonly attempt: 'over' | 'none' | 'aborted' }

interface Place {
  /** The attempt that is under way, until its outcome is known. */
  underWay?: Promise<void>
  /** Monotonic ms from which the next attempt may go. */
  nextAt: number
  /** When the rest began that the pause belongs to, epoch ms: a later rest has its own. */
  since?: number
}

/**
 * How long after a refusal, or after a failed attempt, a profile that rests is left alone, in ms, although nothing else could serve. A time that
 * the provider named is kept to, up to a minute: what is promised for hours may be over sooner, after a payment. Pure.
 */
export function paceOf({ since, until, isPromised }: Pick<Rest, 'since' | 'until' | 'isPromised'>, now: number): number {
  const left = Math.max(0, until - now)
  if (isPromised) return Math.min(left, LONGEST_PACE_MS)
  return Math.min(left, LONGEST_PACE_MS, Math.max(SHORTEST_PACE_MS, (until - since) / ATTEMPTS_PER_GUESS))
}

/** What is paced by itself: a profile, or one model of it where that alone rests. */
export function placeOf(profileId: string, rest: { readonly model?: string | undefined } | undefined): string {
  return `${profileId}\0${rest?.model ?? ''}`
}

/** Ms until the first attempt at a profile that rests: the refusal that began the rest was an attempt too, perhaps of another process. Pure. */
export function firstPauseOf(rest: Pick<Rest, 'since' | 'until' | 'isPromised'>, now: number): number {
  const pace = paceOf(rest, rest.since)
  // A clock that was set back must not make the pause longer.
  return Math.min(pace, Math.max(0, rest.since + pace - now))
}

/**
 * Paces attempts at profiles that rest, for want of others: one at a time, and a pause after each refusal, the one that
 * began the rest included. Calls that come meanwhile wait for the outcome and share it.
 */
export class LastResort {
  readonly #clock: Clock
  readonly #places = new Map<string, Place>()

  constructor({ clock = systemClock }: { clock?: Clock } = {}) {
    this.#clock = clock
  }

  /**
   * Asks for the attempt at a profile that rests. A caller that gets it must `leave`, as soon as its outcome is known.
   *
   * @param key As of `placeOf`.
   * @param restOf What rests it now; `undefined` once it rests no more.
   * @param waitMs How long to wait for the attempt of another call.
   */
  async enter(key: string, restOf: () => Rest | undefined, waitMs: number, signal?: AbortSignal): Promise<Admittance> {
    const place = this.#places.get(key)
    if (place?.underWay) {
      await settledWithin(place.underWay, waitMs, signal)
      if (signal?.aborted) return { attempt: 'aborted' }
      return { attempt: restOf() ? 'none' : 'over' }
    }
    const rest = restOf()
    if (!rest) return { attempt: 'over' }
    return this.#pauseMs(key, rest) > 0 ? { attempt: 'none' } : this.#take(key, restOf)
  }

  /**
   * Ms until the profile is tried again while nothing else could serve: the end of a time that the provider named, or the
   * next attempt within one that is our own estimate.
   */
  retryMsOf(profileId: string, rest: Pick<Rest, 'since' | 'until' | 'isPromised'> & { readonly model?: string | undefined }): number {
    const left = Math.max(0, rest.until - this.#clock.now())
    return rest.isPromised ? left : Math.min(left, this.#pauseMs(placeOf(profileId, rest), rest))
  }

  #pauseMs(key: string, rest: Pick<Rest, 'since' | 'until' | 'isPromised'>): number {
    const place = this.#places.get(key)
    const afterFailure = place?.since === rest.since ? place.nextAt - this.#clock.monotonic() : 0
    return Math.max(0, firstPauseOf(rest, this.#clock.now()), afterFailure)
  }

  #take(key: string, restOf: () => Rest | undefined): Admittance {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (this.#places.size >= MOST_PLACES) this.#forgetOld()
    this.#places.set(key, { underWay: promise, nextAt: 0 })
    const leave = () => {
      if (this.#places.get(key)?.underWay !== promise) return
      const rest = restOf()
      if (rest) this.#places.set(key, { nextAt: this.#clock.monotonic() + paceOf(rest, this.#clock.now()), since: rest.since })
      else this.#places.delete(key)
      resolve()
    }
    return { attempt: 'paced', leave }
  }

  #forgetOld(): void {
    const now = this.#clock.monotonic()
    for (const [key, { underWay, nextAt }] of this.#places) if (!underWay && nextAt <= now) this.#places.delete(key)
  }
}

/** Waits for work that never rejects, but no longer than `ms` and not after `signal` aborted. */
function settledWithin(work: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
    if (signal?.aborted) done()
    work.then(done)
  })
}
