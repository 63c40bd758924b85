import type { StoredProfile } from '../domain/credential.ts'
import type { ProfileStore } from '../store/profile-store.ts'

type Update = (current: StoredProfile | undefined) => StoredProfile | undefined

/**
 * Changes the store could not take (disk full, read-only), kept so that what they say holds for this process.
 *
 * The provider took the old refresh token already, so forgetting the new one would lose the login; it serves from memory
 * and is written as soon as the store takes it.
 */
export class PendingWrites {
  readonly #updates = new Map<string, Update[]>()
  /** Updates that bring a new token. */
  readonly #tokens = new WeakSet<Update>()

  /** Says whether something of the profile is only in memory. */
  has(profileId: string): boolean {
    return this.#updates.has(profileId)
  }

  get profileIds(): readonly string[] {
    return [...this.#updates.keys()]
  }

  /** Profiles with a new token that is only in memory. */
  get tokensOf(): readonly string[] {
    return [...this.#updates].filter(([, updates]) => updates.some(update => this.#tokens.has(update))).map(([profileId]) => profileId)
  }

  /** Keeps a new token of the profile that the store could not take. */
  holdToken(profileId: string, update: Update): void {
    this.#tokens.add(update)
    this.hold(profileId, update)
  }

  hold(profileId: string, update: Update): void {
    this.#updates.set(profileId, [...(this.#updates.get(profileId) ?? []), update])
  }

  /** What the store holds, with what could not be written laid over it. */
  over(profileId: string, stored: StoredProfile | undefined): StoredProfile | undefined {
    return (this.#updates.get(profileId) ?? []).reduce<StoredProfile | undefined>((profile, update) => update(profile), stored)
  }

  /** Tries to write what is held of a profile. @throws what the store throws; nothing is forgotten then. */
  async write(profileId: string, store: ProfileStore): Promise<void> {
    const updates = this.#updates.get(profileId)
    if (!updates) return
    await store.change(profileId, current => updates.reduce<StoredProfile | undefined>((profile, update) => update(profile), current))
    // By identity: while we wrote, another writer may have been done with these, and something newer may be held.
    const later = this.#updates.get(profileId)?.filter(update => !updates.includes(update)) ?? []
    if (later.length > 0) this.#updates.set(profileId, later)
    else this.#updates.delete(profileId)
  }
}
