import type { Fingerprint } from '../domain/fingerprint.ts'
import { type Clock, systemClock } from '../tools/clock.ts'

/** How long the result of a refresh is kept for callers that come late, in ms. It holds a credential: no longer than this. */
const ROTATION_KEPT_MS = 60_000
/** Profiles remembered; the oldest go first. */
const MOST_PROFILES = 1_000
/** Tokens remembered of one chain of rotations; the oldest go first. */
const MOST_REPLACED = 20

/** What a refresh brought. */
interface RecentRotation<R> {
  /** The token that the caller wanted replaced. */
  readonly replaced: Fingerprint | undefined
  /** The access token it brought; where that is unknown, nothing can be said about the result. */
  readonly brought: Fingerprint | undefined
  /** When the brought token expires, epoch ms, where the token itself says so. */
  readonly expiresAt?: number | undefined
  readonly result: R
}

/** The newest result of a profile, and every token that it stands in for. */
interface Newest<R> extends RecentRotation<R> {
  readonly brought: Fingerprint
  readonly replacedTokens: readonly Fingerprint[]
  readonly landedAt: number
  readonly landedAtWall: number
  readonly forget: NodeJS.Timeout
}

/**
 * The newest result of each profile's refreshes, for callers that want a token replaced which has been replaced a moment
 * ago, by this rotation or by one before it.
 */
export class RecentRotations<R> {
  readonly #clock: Clock
  readonly #newest = new Map<string, Newest<R>>()

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** The newest result that stands in for `token`, if it is another one, has not expired and is younger than a minute. */
  newerThan(profileId: string, token: Fingerprint | undefined): Pick<RecentRotation<R>, 'result'> | undefined {
    if (token === undefined) return undefined
    const newest = this.#current(profileId)
    if (!newest?.replacedTokens.includes(token)) return undefined
    if (newest.expiresAt !== undefined && newest.expiresAt <= this.#clock.now()) return undefined
    return newest
  }

  /** A refresh of the profile has ended well. */
  landed(profileId: string, rotation: RecentRotation<R>): void {
    const before = this.#current(profileId)
    this.#forget(profileId)
    const { brought } = rotation
    if (brought === undefined) return
    // A token that came back is no older one: who wants it replaced needs another.
    const replacedTokens = [...(before?.replacedTokens ?? []), before?.brought, rotation.replaced].filter(
      (token, index, all): token is Fingerprint => token !== undefined && token !== brought && all.indexOf(token) === index,
    )
    const [oldest] = this.#newest.keys()
    if (oldest !== undefined && this.#newest.size >= MOST_PROFILES) this.#forget(oldest)
    this.#newest.set(profileId, {
      ...rotation,
      brought,
      replacedTokens: replacedTokens.slice(-MOST_REPLACED),
      landedAt: this.#clock.monotonic(),
      landedAtWall: this.#clock.now(),
      forget: setTimeout(() => this.#forget(profileId), ROTATION_KEPT_MS).unref(),
    })
  }

  /** The monotonic clock stands still while the machine sleeps, and the wall clock may be set back: the later one counts. */
  #current(profileId: string): Newest<R> | undefined {
    const newest = this.#newest.get(profileId)
    if (!newest) return undefined
    const age = Math.max(this.#clock.monotonic() - newest.landedAt, this.#clock.now() - newest.landedAtWall)
    if (age < ROTATION_KEPT_MS) return newest
    this.#forget(profileId)
    return undefined
  }

  #forget(profileId: string): void {
    clearTimeout(this.#newest.get(profileId)?.forget)
    this.#newest.delete(profileId)
  }
}
