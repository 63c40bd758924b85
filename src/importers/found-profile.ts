import type { ApiKeyCredential, Credential, OAuthCredential, TokenCredential } from '../domain/credential.ts'
import { expiryOfJwt, secretText } from '../providers/token-fields.ts'

/** A profile of a source, ready to be imported. */
export interface FoundProfile {
  /** Id it gets here unless another one is given. May carry an e-mail address. */
  readonly id: string
  readonly provider: string
  readonly credential: Credential
  /** What its owner says about it, in sentences for people. */
  readonly notes: readonly string[]
}

/** A profile that cannot be taken over. */
export interface UnusableProfile {
  readonly id: string
  readonly provider: string
  /** Why not, and what to do. Never a value. */
  readonly why: string
}

/** Everything one source holds. */
export interface Reading {
  /** Files it was read from. */
  readonly places: readonly string[]
  readonly found: readonly FoundProfile[]
  readonly unusable: readonly UnusableProfile[]
  /** Ids in the order in which the source tries them; empty where it has none. */
  readonly order: readonly string[]
  /** What else the user should know, in sentences. */
  readonly notes: readonly string[]
}

/** Where a source is looked for. */
export interface SourceLocation {
  /** File or folder; without it, where the application keeps it. */
  readonly path?: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly home: string
}

/** A credential, or why there is none. */
export type CredentialReading =
  | { readonly credential: Credential; readonly note?: string }
  | { readonly credential?: undefined; readonly why: string }

/** The parts of an OAuth grant as a file has them. Moments are epoch milliseconds. */
interface OAuthParts {
  readonly access: string | undefined
  readonly refresh: string | undefined
  readonly idToken?: string | undefined
  readonly expiresAt?: number | undefined
  readonly issuedAt?: number | undefined
  readonly account?: string | undefined
  readonly scope?: string | undefined
}

/**
 * Builds an OAuth credential. Earlier rotations are unknown, so its generation is 0.
 *
 * A grant with an invalid token is refused: without its refresh token the login would end unnoticed, which an import must not hide.
 */
export function oauthCredential(parts: OAuthParts, now: number): CredentialReading {
  const access = tokenText(parts.access)
  const refresh = tokenText(parts.refresh)
  const wrong = refusal('access token', access) ?? refusal('refresh token', refresh)
  if (wrong) return { why: `${wrong}; sign in there again, and import then` }
  const credential = oauthCredentialOf(parts, {
    access: textOf(access),
    refresh: textOf(refresh),
    idToken: textOf(tokenText(parts.idToken)),
  })
  if (credential.refresh !== undefined) return { credential }
  if (credential.access === undefined) return { why: 'it holds neither an access token nor a refresh token' }
  if (credential.expiresAt !== undefined && credential.expiresAt <= now)
    return { why: 'its access token has expired, and it holds no refresh token; sign in there again, and import then' }
  return { credential, note: 'it holds no refresh token: it serves until it expires' }
}

function oauthCredentialOf(
  parts: OAuthParts,
  { access, refresh, idToken }: Pick<OAuthParts, 'access' | 'refresh' | 'idToken'>,
): OAuthCredential {
  const expiresAt = parts.expiresAt ?? (access === undefined ? undefined : expiryOfJwt(access))
  return {
    type: 'oauth',
    generation: 0,
    ...(access !== undefined && { access }),
    ...(refresh !== undefined && { refresh }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(parts.issuedAt !== undefined && { issuedAt: parts.issuedAt }),
    ...(parts.account && { account: parts.account }),
    ...(idToken !== undefined && { idToken }),
    ...(parts.scope && { scope: parts.scope }),
  }
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

/** What stands where a token belongs. */
type TokenText =
  | { readonly kind: 'token'; readonly text: string }
  | { readonly kind: 'absent' }
  /** Something that is no token; `why` completes "its access token ...". */
  | { readonly kind: 'refused'; readonly why: string }

const ABSENT: TokenText = { kind: 'absent' }

/** What OpenClaw puts in a token's place while it refreshes, and leaves there when that failed. */
const FENCE = 'openclaw-oauth-refresh-fence:'
const PLACEHOLDER = /^\$\{?\w+\}?$|^\{\{.*\}\}$/
const REDACTED = /^[*•x.]+$|redacted/i
/** What a header can carry. */
const SENDABLE = /^[\x21-\x7e]+$/

/**
 * Distinguishes a token from what programs leave in its place: nothing, the words `undefined` and `null`, a placeholder, a mark.
 * A token is shown nowhere from here on.
 */
function tokenText(value: string | undefined): TokenText {
  if (value === undefined) return ABSENT
  const text = secretText(value)
  if (text === undefined) {
    const said = value.trim()
    return refused(said === '' ? 'is an empty string' : `is the word ${JSON.stringify(said)}, which some program wrote in its place`)
  }
  if (text.startsWith(FENCE))
    return refused('is a mark of OpenClaw for a refresh that is under way or has failed: sign in there, or wait, and import again')
  if (PLACEHOLDER.test(text)) return refused('is a placeholder for a variable')
  if (REDACTED.test(text)) return refused('was made unreadable, as for a report')
  if (!SENDABLE.test(text)) return refused('holds spaces or characters that no header can carry')
  return { kind: 'token', text }
}

function refused(why: string): TokenText {
  return { kind: 'refused', why }
}
