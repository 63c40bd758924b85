import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'

/** What is known of a refresh token. */
export interface KnownToken {
  readonly profileId: string
  /** It was rotated away: sending it again is a replay. */
  readonly rotatedAway: boolean
}

/** Tokens remembered at the most; the oldest go first. */
const MOST_KNOWN = 20_000

/** Which refresh token belongs, or belonged, to which profile. Fingerprints only. */
export class Lineage {
  readonly #known = new Map<Fingerprint, KnownToken>()

  /** Notes what a profile holds and held. */
  learn({ id, credential, rotatedAway = [] }: StoredProfile): void {
    if (!isOAuth(credential)) return
    const current = fingerprint(credential.refresh)
    if (current) this.#note(current, { profileId: id, rotatedAway: false })
    for (const gone of rotatedAway) this.#note(gone, { profileId: id, rotatedAway: true })
  }

  /** Synchronous: it is asked while a request leaves. */
  of(refresh: Fingerprint): KnownToken | undefined {
    return this.#known.get(refresh)
  }

  #note(token: Fingerprint, known: KnownToken): void {
    this.#known.delete(token)
    if (this.#known.size >= MOST_KNOWN) this.#known.delete(this.#known.keys().next().value ?? '')
    this.#known.set(token, known)
  }
}
