import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'

/** What is known of a refresh token. */
interface KnownToken {
  readonly profileId: string
  /** It was rotated away: sending it again is a replay. */
  readonly rotatedAway: boolean
}

/** What was learned of one profile. */
interface Learned {
  readonly refresh: string | undefined
  readonly rotatedAway: readonly Fingerprint[]
  /** Of the token it holds; absent without one. */
  readonly current: Fingerprint | undefined
}

/** Tokens remembered beyond what profiles hold and list as rotated away; the oldest go first. */
const MOST_KNOWN = 20_000
const NONE: readonly Fingerprint[] = []

/**
 * Which refresh token belongs, or belonged, to which profile: found by its fingerprint, however many profiles there are.
 *
 * A fingerprint proves nothing, since it is short and stands in telemetry: a caller that shows a token gets something only
 * after it was compared (`findOwnership`).
 */
export class Lineage {
  readonly #profiles = new Map<string, Learned>()
  /** Which profiles hold a token or list it as rotated away; mostly one. */
  readonly #holders = new Map<Fingerprint, readonly string[]>()
  /** Tokens that no profile lists any more. */
  readonly #former = new Map<Fingerprint, KnownToken>()
  /** The former ones in the order in which they came: to ask a map for its first key again and again walks over all that were deleted. */
  readonly #order: Fingerprint[] = []
  #oldest = 0

  /** Notes every profile there is; those that are not listed are gone, and what they held is only remembered. */
  list(profiles: readonly StoredProfile[]): void {
    const gone = new Set(this.#profiles.keys())
    for (const profile of profiles) {
      gone.delete(profile.id)
      this.learn(profile)
    }
    for (const profileId of gone) this.#replace(profileId, undefined)
  }

  /** Notes what a profile holds and held. What has not changed since the last time costs a comparison. */
  learn({ id, credential, rotatedAway = NONE }: StoredProfile): void {
    if (!isOAuth(credential)) {
      this.#replace(id, undefined)
      return
    }
    const known = this.#profiles.get(id)
    const { refresh } = credential
    if (known && known.refresh === refresh && isSame(known.rotatedAway, rotatedAway)) return
    const current = known && known.refresh === refresh ? known.current : fingerprint(refresh)
    this.#replace(id, { refresh, rotatedAway, current })
  }

  /** Notes what a profile holds and held whose tokens are never seen here. @param current `undefined` where it is gone */
  hold(profileId: string, current: Fingerprint | undefined, rotatedAway: readonly Fingerprint[] = NONE): void {
    this.#replace(profileId, current === undefined && rotatedAway.length === 0 ? undefined : { refresh: undefined, rotatedAway, current })
  }

  /** Synchronous: it is asked while a request leaves. */
  of(refresh: Fingerprint): KnownToken | undefined {
    const holders = this.#holders.get(refresh)
    if (!holders) return this.#former.get(refresh)
    const holder = holders.find(id => this.#profiles.get(id)?.current === refresh)
    return { profileId: holder ?? holders.at(-1) ?? '', rotatedAway: holder === undefined }
  }

  /** Ids of the profiles that hold a token of that fingerprint, or list it as rotated away. */
  holders(refresh: Fingerprint): readonly string[] {
    return this.#holders.get(refresh) ?? []
  }

  #replace(profileId: string, next: Learned | undefined): void {
    const before = this.#profiles.get(profileId)
    const kept = new Set(next && tokensOf(next))
    for (const token of before ? tokensOf(before) : []) {
      if (kept.has(token)) continue
      const others = this.holders(token).filter(id => id !== profileId)
      if (others.length > 0) this.#holders.set(token, others)
      else {
        this.#holders.delete(token)
        // One that is current no more and is not listed as rotated away has made room for a login, or for what the store knows.
        this.#remember(token, { profileId, rotatedAway: token !== before?.current })
      }
    }
    if (!next) {
      this.#profiles.delete(profileId)
      return
    }
    this.#profiles.set(profileId, next)
    for (const token of kept) {
      const holders = this.holders(token)
      if (!holders.includes(profileId)) this.#holders.set(token, [...holders, profileId])
    }
  }

  #remember(token: Fingerprint, known: KnownToken): void {
    if (!this.#former.has(token)) this.#order.push(token)
    this.#former.set(token, known)
    while (this.#former.size >= MOST_KNOWN) {
      this.#former.delete(this.#order[this.#oldest] ?? '')
      this.#oldest += 1
    }
    if (this.#oldest < MOST_KNOWN) return
    this.#order.splice(0, this.#oldest)
    this.#oldest = 0
  }
}

function tokensOf({ current, rotatedAway }: Learned): readonly Fingerprint[] {
  return current === undefined ? rotatedAway : [current, ...rotatedAway]
}

function isSame(one: readonly Fingerprint[], other: readonly Fingerprint[]): boolean {
  return one === other || (one.length === other.length && one.every((token, index) => token === other[index]))
}
