import { createHash, timingSafeEqual } from 'node:crypto'
import { isOAuth, type StoredProfile } from '../domain/credential.ts'

/** A profile whose refresh token a caller has shown. */
export interface TokenOwnership {
  readonly profile: StoredProfile
  /** `current`: what the profile holds now. `former`: it was rotated away since. */
  readonly standing: 'current' | 'former'
  /** When a former one was rotated away, epoch ms; absent where it was not noted. */
  readonly rotatedAwayAt?: number
}

/**
 * The digest that says of a refresh token that it was held, without saying the token.
 *
 * A fingerprint will not do: it is short and stands in telemetry, so that an attacker could search for a text with the
 * same one. The account is part of it: a login of another account under the same profile is nothing that who held the
 * former one may have.
 *
 * @returns 64 hex digits.
 */
export function ownershipDigest(refresh: string, account: string | undefined): string {
  return createHash('sha256')
    .update(`gatewatch-held-v1\0${account ?? ''}\0`)
    .update(refresh)
    .digest('hex')
}

/**
 * Finds the profile that holds a refresh token, or held it at most `ROTATED_AWAY_KEPT` rotations ago. Knowing the token is
 * the proof of having held it.
 *
 * Everything is compared, in constant time: how long it takes says nothing about what is close.
 */
export function findOwnership(profiles: readonly StoredProfile[], refresh: string): TokenOwnership | undefined {
  let current: TokenOwnership | undefined
  let former: TokenOwnership | undefined
  for (const profile of profiles) {
    const { credential, heldBefore = [], rotatedAwayAt = [] } = profile
    if (!isOAuth(credential)) continue
    const shown = Buffer.from(ownershipDigest(refresh, credential.account))
    const isCurrent = isSame(shown, ownershipDigest(credential.refresh ?? '', credential.account))
    const formerAt = heldBefore.map(digest => isSame(shown, digest)).indexOf(true)
    if (isCurrent && credential.refresh) current ??= { profile, standing: 'current' }
    if (formerAt >= 0) {
      const at = rotatedAwayAt[formerAt]
      former ??= { profile, standing: 'former', ...(at !== undefined && { rotatedAwayAt: at }) }
    }
  }
  return current ?? former
}

function isSame(shown: Buffer, digest: string): boolean {
  const known = Buffer.from(digest)
  return known.length === shown.length && timingSafeEqual(known, shown)
}
