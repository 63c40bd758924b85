import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { secretText } from '../providers/token-fields.ts'

/** What a file of the application says of the credential that a refresh token belongs to. */
export interface StoredCredential {
  /** The name of its profile, where the application names them. */
  readonly profileId: string | undefined
  readonly access: string | undefined
  /** Epoch milliseconds. */
  readonly expiresAt: number | undefined
}

/** A file of the application as it was read. */
export interface CredentialFile {
  readonly bytes: Uint8Array
  /** It was written after the request was made: what it says may come from the answer. */
  readonly isNewer: boolean
}

/** Which credential is looked for. */
export interface CredentialQuestion {
  readonly refresh: Fingerprint
  readonly provider: string
  /** When the request with that refresh token was made, epoch milliseconds. */
  readonly sentMs: number
}

/** What the thread that searches is asked. */
export interface CredentialSearch {
  readonly id: number
  readonly question: CredentialQuestion
  readonly files: readonly CredentialFile[]
}

export interface CredentialSearchAnswer {
  readonly id: number
  readonly stored: StoredCredential | undefined
}

const REFRESH_NAMES = ['refresh', 'refresh_token', 'refreshToken'] as const
const ACCESS_NAMES = ['access', 'access_token', 'accessToken'] as const
const EXPIRY_NAMES = ['expires', 'expiresAt', 'expires_at', 'expiry_date', 'expiry'] as const
const DEEPEST = 8
/** From here on a number is a moment in milliseconds. */
const MILLISECONDS = 100_000_000_000

type Fields = Readonly<Record<string, unknown>>

/**
 * Finds the credential that holds the refresh token; else the one credential of its provider of which the files say when
 * it expires but not its tokens, since an application may keep those elsewhere.
 *
 * @returns `undefined` where there is none, or several and it is not known which.
 */
export function searchCredentials(
  files: readonly CredentialFile[],
  { refresh, provider }: CredentialQuestion,
): StoredCredential | undefined {
  const read = files.map(({ bytes, isNewer }) => ({ isNewer, value: parse(bytes) }))
  for (const { value } of read) {
    const found = holderOf(value, refresh, undefined, 0)
    if (found) return found
  }
  const [first, ...others] = read.flatMap(({ value, isNewer }) => (isNewer ? [] : [...tokenless(value, provider, undefined, 0)]))
  return others.every(other => other.profileId === first?.profileId && other.expiresAt === first?.expiresAt) ? first : undefined
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    // A file that is just being written says nothing.
    return undefined
  }
}

function holderOf(value: unknown, refresh: Fingerprint, name: string | undefined, depth: number): StoredCredential | undefined {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return undefined
  const fields = value as Fields
  if (REFRESH_NAMES.some(key => fingerprint(textIn(fields[key])) === refresh)) {
    return {
      profileId: profileIn(name),
      access: ACCESS_NAMES.map(key => secretText(fields[key])).find(token => token !== undefined),
      expiresAt: expiryOf(fields),
    }
  }
  for (const [key, inner] of Object.entries(fields)) {
    const found = holderOf(inner, refresh, key, depth + 1)
    if (found) return found
  }
  return undefined
}

/** Every credential of the provider that has an expiry and no refresh token. */
function* tokenless(value: unknown, provider: string, name: string | undefined, depth: number): Generator<StoredCredential> {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return
  const fields = value as Fields
  const expiresAt = expiryOf(fields)
  if (expiresAt !== undefined && (fields.provider === provider || name?.startsWith(`${provider}:`))) {
    if (REFRESH_NAMES.every(key => secretText(fields[key]) === undefined))
      yield { profileId: profileIn(name), access: undefined, expiresAt }
    return
  }
  for (const [key, inner] of Object.entries(fields)) yield* tokenless(inner, provider, key, depth + 1)
}

/** Epoch milliseconds, whatever the unit it is written in. */
function expiryOf(fields: Fields): number | undefined {
  const expires = EXPIRY_NAMES.map(key => fields[key]).find(given => typeof given === 'number' && given > 0) as number | undefined
  return expires === undefined || expires >= MILLISECONDS ? expires : expires * 1000
}

function profileIn(name: string | undefined): string | undefined {
  return name?.includes(':') ? name : undefined
}

function textIn(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
