import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import type { Gateway } from '../gateway.ts'
import { findOwnership, type TokenOwnership } from '../refresh/token-ownership.ts'

/** Finds the profile whose refresh token a client shows. What it costs does not grow with the profiles there are. */
export class TokenHolders {
  readonly #gateway: Pick<Gateway, 'profiles' | 'gate'>

  constructor(gateway: Pick<Gateway, 'profiles' | 'gate'>) {
    this.#gateway = gateway
  }

  /** Who holds or held it, by a listing that is a second old at most, and by what this process rotated since. */
  async find(refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    return this.#among(await this.#gateway.profiles.list(), refresh, providerId)
  }

  /** As `find`, with the profiles read again: another process may have rotated the token a moment ago. */
  async findAnew(refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    return this.#among(await this.#gateway.profiles.listAnew(), refresh, providerId)
  }

  async #among(listed: readonly StoredProfile[], refresh: string, providerId: string): Promise<TokenOwnership | undefined> {
    const { lineage } = this.#gateway.gate
    const token = fingerprint(refresh) ?? ''
    // The second knows of a token that the store could not take, too.
    const ids = new Set([...lineage.holders(token), lineage.of(token)?.profileId])
    const found = listed.filter(({ id, provider, credential }) => ids.has(id) && provider === providerId && isOAuth(credential))
    return findOwnership(await Promise.all(found.map(profile => this.#gateway.profiles.current(profile))), refresh)
  }
}
