import { isOAuth, type OAuthCredential, ROTATED_AWAY_KEPT, type StoredProfile } from '../domain/credential.ts'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { ownershipDigest } from './token-ownership.ts'

/** What an answer makes of a credential. */
type Rotation =
  | { readonly outcome: Extract<TokenRequestOutcome, 'rotated' | 'renewed'>; readonly credential: OAuthCredential }
  | { readonly outcome: Extract<TokenRequestOutcome, 'identity_mismatch'> }

/**
 * Builds the next credential from an answer of the token endpoint.
 *
 * A refresh token that is missing in the answer lives on (RFC 6749 section 6). An answer for another account is refused:
 * storing it would quietly switch who pays and whose data is read (failure 22).
 *
 * @param now When the answer came, epoch milliseconds.
 */
export function rotate(current: OAuthCredential, answer: GrantedAnswer, now: number): Rotation {
  if (current.account && answer.account && current.account !== answer.account) return { outcome: 'identity_mismatch' }
  const account = answer.account ?? current.account
  const idToken = answer.idToken ?? current.idToken
  const scope = answer.scope ?? current.scope
  const refresh = answer.refresh ?? current.refresh
  const credential: OAuthCredential = {
    type: 'oauth',
    access: answer.access,
    expiresAt: now + answer.expiresInMs,
    issuedAt: now,
    generation: current.generation + 1,
    ...(refresh && { refresh }),
    ...(account && { account }),
    ...(idToken && { idToken }),
    ...(scope && { scope }),
  }
  return { outcome: refresh === current.refresh ? 'renewed' : 'rotated', credential }
}

/**
 * The profile with a rotated credential in place of the one that was sent.
 *
 * Compares before it replaces: when the stored refresh token is not the one that was sent, a user signed in or rotated
 * meanwhile, and what they stored stays.
 *
 * @param sent The refresh token the answer was given for.
 */
export function withRotation(current: StoredProfile | undefined, sent: string, next: OAuthCredential): StoredProfile | undefined {
  if (!current || !holds(current, sent)) return current
  // A provider that lets refresh tokens live on: only the generation shows that a later access token is stored already.
  if (isOAuth(current.credential) && current.credential.generation >= next.generation) return current
  const { pending: _pending, needsLogin: _needsLogin, rotatedAway = [], heldBefore = [], rotatedAwayAt = [], ...rest } = current
  const gone = next.refresh === sent ? undefined : fingerprint(sent)
  if (!gone) return { ...rest, credential: next, rotatedAway, ...(heldBefore.length > 0 && { heldBefore, rotatedAwayAt }) }
  return {
    ...rest,
    credential: next,
    rotatedAway: [gone, ...rotatedAway].slice(0, ROTATED_AWAY_KEPT),
    heldBefore: [ownershipDigest(sent, next.account), ...heldBefore].slice(0, ROTATED_AWAY_KEPT),
    rotatedAwayAt: [next.issuedAt ?? 0, ...rotatedAwayAt].slice(0, ROTATED_AWAY_KEPT),
  }
}

/** Says whether the profile still holds this refresh token. */
export function holds(profile: StoredProfile, refresh: string): boolean {
  return isOAuth(profile.credential) && profile.credential.refresh === refresh
}
