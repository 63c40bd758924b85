import type { ApiKeyCredential, Credential, OAuthCredential, TokenCredential } from '../domain/credential.ts'
import { expiryOfJwt } from '../providers/jwt-claims.ts'
import { type TokenText, tokenText } from './token-text.ts'

/** A credential, or why there is none. */
export type CredentialReading =
  | { readonly credential: Credential; readonly note?: string }
  | { readonly credential?: undefined; readonly why: string }

/** The parts of an OAuth grant as a file has them. Moments are epoch milliseconds. */
export interface OAuthParts {
  readonly access: string | undefined
  readonly refresh: string | undefined
  readonly idToken?: string | undefined
  readonly expiresAt?: number | undefined
  readonly issuedAt?: number | undefined
  readonly account?: string | undefined
  readonly scope?: string | undefined
}

/**
 * Builds an OAuth credential. Its generation is 0, since earlier rotations are not known.
 *
 * A grant of which one token is no token is no credential: without a refresh token it would die in silence, which is what
 * an import must not hide.
 */
export function oauthCredential(parts: OAuthParts, now: number): CredentialReading {
  const access = tokenText(parts.access)
  const refresh = tokenText(parts.refresh)
  const wrong = refusal('access token', access) ?? refusal('refresh token', refresh)
  if (wrong) return { why: `${wrong}; sign in there again, and import then` }
  const accessText = textOf(access)
  const refreshText = textOf(refresh)
  if (accessText === undefined && refreshText === undefined) return { why: 'it holds neither an access token nor a refresh token' }
  const expiresAt = parts.expiresAt ?? (accessText === undefined ? undefined : expiryOfJwt(accessText))
  if (refreshText === undefined && expiresAt !== undefined && expiresAt <= now)
    return { why: 'its access token has expired, and it holds no refresh token; sign in there again, and import then' }
  const idToken = textOf(tokenText(parts.idToken))
  const credential: OAuthCredential = {
    type: 'oauth',
    generation: 0,
    ...(accessText !== undefined && { access: accessText }),
    ...(refreshText !== undefined && { refresh: refreshText }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(parts.issuedAt !== undefined && { issuedAt: parts.issuedAt }),
    ...(parts.account && { account: parts.account }),
    ...(idToken !== undefined && { idToken }),
    ...(parts.scope && { scope: parts.scope }),
  }
  return refreshText === undefined ? { credential, note: 'it holds no refresh token: it serves until it expires' } : { credential }
}

/** Puts a bearer token together that another caller minted. */
export function tokenCredential(token: string | undefined, expiresAt: number | undefined, now: number): CredentialReading {
  const read = tokenText(token)
  const text = textOf(read)
  if (text === undefined) return { why: refusal('token', read) ?? 'it holds no token' }
  if (expiresAt !== undefined && expiresAt <= now) return { why: 'its token has expired and cannot be refreshed' }
  return { credential: { type: 'token', token: text, ...(expiresAt !== undefined && { expiresAt }) } satisfies TokenCredential }
}

/** Puts an API key together. */
export function keyCredential(key: string | undefined): CredentialReading {
  const read = tokenText(key)
  const text = textOf(read)
  if (text === undefined) return { why: refusal('key', read) ?? 'it holds no key' }
  return { credential: { type: 'api_key', key: text } satisfies ApiKeyCredential }
}

function refusal(what: string, read: TokenText): string | undefined {
  return read.kind === 'refused' ? `its ${what} ${read.why}` : undefined
}

function textOf(read: TokenText): string | undefined {
  return read.kind === 'token' ? read.text : undefined
}
