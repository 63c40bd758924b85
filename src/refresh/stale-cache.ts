import type { StoredProfile } from '../domain/credential.ts'

/**
 * What each profile held when the store could last be read. While it cannot (cut off, newer, no permission), an access
 * token that still works may serve from here; refreshing it may not, since the answer could not be kept.
 */
export class StaleCache {
  readonly #profiles = new Map<string, StoredProfile>()
  readonly #unreadable = new Set<string>()

  /** Notes what was read; `undefined` when the store holds no such profile. */
  read(profileId: string, profile: StoredProfile | undefined): void {
    this.#unreadable.delete(profileId)
    if (profile) this.#profiles.set(profileId, profile)
    else this.#profiles.delete(profileId)
  }

  /** Notes that the profile could not be read. @returns What was known of it before. */
  unreadable(profileId: string): StoredProfile | undefined {
    const known = this.#profiles.get(profileId)
    if (known) this.#unreadable.add(profileId)
    return known
  }

  /** Says whether what is known of the profile is only in memory, because the store cannot be read. */
  isUnreadable(profileId: string): boolean {
    return this.#unreadable.has(profileId)
  }
}
