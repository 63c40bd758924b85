import type { Billing, CredentialType } from './enums.ts'
import { type Fingerprint, fingerprint } from './fingerprint.ts'

/** A key that never expires and never rotates. */
export interface ApiKeyCredential {
  readonly type: 'api_key'
  readonly key: string
}

/** A bearer token another caller minted: it may expire, it is never refreshed. */
export interface TokenCredential {
  readonly type: 'token'
  readonly token: string
  /** Epoch milliseconds; absent when unknown. */
  readonly expiresAt?: number
}

/** An OAuth grant. Either token may be absent: a credential that lost one must be distinguished from a healthy one. */
export interface OAuthCredential {
  readonly type: 'oauth'
  readonly access?: string
  readonly refresh?: string
  /** Expiry of the access token, epoch milliseconds; absent when unknown. */
  readonly expiresAt?: number
  /** When the access token was issued, epoch milliseconds. */
  readonly issuedAt?: number
  /** The account the grant belongs to, as the provider names it. */
  readonly account?: string
  readonly idToken?: string
  readonly scope?: string
  /** Rotations so far; every rotation adds one. */
  readonly generation: number
}

/** What a profile authenticates with. */
export type Credential = ApiKeyCredential | TokenCredential | OAuthCredential

/** A refresh request that was sent and whose answer has not been persisted: what a crash leaves behind. */
export interface PendingRefresh {
  /** Fingerprint of the refresh token that was sent. */
  readonly refreshFingerprint: Fingerprint
  /** Epoch milliseconds. */
  readonly sentAt: number
  readonly pid: number
}

/** A grant that cannot be refreshed any more until a user signs in. */
export interface NeedsLogin {
  /** Fingerprint of the refresh token that is dead; a credential with another one is not affected. */
  readonly refreshFingerprint?: Fingerprint
  /** A refresh outcome. */
  readonly outcome: string
  /** Epoch milliseconds. */
  readonly since: number
  /** The provider's own error code, when it gave one. */
  readonly providerCode?: string
}

/** What a store keeps of one profile. */
export interface StoredProfile {
  readonly id: string
  readonly provider: string
  readonly billing?: Billing
  readonly credential: Credential
  readonly pending?: PendingRefresh
  readonly needsLogin?: NeedsLogin
  /** Fingerprints of refresh tokens that were rotated away, newest first, at most `ROTATED_AWAY_KEPT`. */
  readonly rotatedAway?: readonly Fingerprint[]
  /** Whole digests of the same tokens: who shows one of them is known to have held it (see `src/refresh/token-ownership.ts`). */
  readonly heldBefore?: readonly string[]
  /** When each token of `heldBefore` was rotated away, epoch ms, in the same order; those an earlier version noted have no time. */
  readonly rotatedAwayAt?: readonly number[]
}

/** How many rotated-away refresh tokens a profile remembers, so that a replay is known as one. */
export const ROTATED_AWAY_KEPT = 20

/** The secret a provider request is sent with, or `undefined` when the credential has lost it. */
export function bearerOf(credential: Credential): string | undefined {
  switch (credential.type) {
    case 'api_key':
      return credential.key || undefined
    case 'token':
      return credential.token || undefined
    case 'oauth':
      return credential.access || undefined
    default:
      return credential satisfies never
  }
}

/** Everything in a credential that must never be shown. */
export function secretsOf(credential: Credential): readonly (string | undefined)[] {
  return credential.type === 'oauth' ? [credential.access, credential.refresh, credential.idToken] : [bearerOf(credential)]
}

const fingerprints = new WeakMap<Credential, Fingerprint>()

/** Fingerprint of what `bearerOf` gives; taken once per credential, since every call shows it. */
export function bearerFingerprint(credential: Credential): Fingerprint | undefined {
  const known = fingerprints.get(credential)
  if (known) return known
  const taken = fingerprint(bearerOf(credential))
  if (taken) fingerprints.set(credential, taken)
  return taken
}

/** When the credential expires, epoch milliseconds; `undefined` when it does not or that is unknown. */
export function expiryOf(credential: Credential): number | undefined {
  return credential.type === 'api_key' ? undefined : credential.expiresAt
}

/** Narrow access for what only OAuth credentials have. */
export function isOAuth(credential: Credential): credential is OAuthCredential {
  return credential.type === ('oauth' satisfies CredentialType)
}
