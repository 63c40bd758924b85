import { readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, parse, sep } from 'node:path'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { secretText } from '../providers/secret-text.ts'

/** What a file of the application says of the credential that a refresh token belongs to. */
export interface StoredCredential {
  /** The name of its profile, where the application names them. */
  readonly profileId: string | undefined
  readonly access: string | undefined
  /** Epoch milliseconds. */
  readonly expiresAt: number | undefined
}

const REFRESH_NAMES = ['refresh', 'refresh_token', 'refreshToken'] as const
const ACCESS_NAMES = ['access', 'access_token', 'accessToken'] as const
const EXPIRY_NAMES = ['expires', 'expiresAt', 'expires_at', 'expiry_date', 'expiry'] as const
const MOST_BYTES = 4 * 1024 * 1024
const MOST_FILES = 100
const DEEPEST = 8
/** From here on a number is a moment in milliseconds. */
const MILLISECONDS = 100_000_000_000

/**
 * Reads, and only reads, the files in which an application keeps its tokens, to learn what nobody can see from outside:
 * when the token that is being refreshed expires, before it was ever sent. Asked only for refresh tokens that were not
 * seen before; nothing of a file is kept.
 */
export class CredentialFiles {
  readonly #patterns: readonly string[]

  /** @param patterns Paths; `~` is the home folder, `*` stands for one folder or file. */
  constructor(patterns: readonly string[]) {
    this.#patterns = patterns
  }

  /** The credential that holds the refresh token; `undefined` when no file does, or none can be read. */
  find(refresh: Fingerprint): StoredCredential | undefined {
    for (const path of this.#patterns.flatMap(expand).slice(0, MOST_FILES)) {
      const found = search(readJson(path), refresh, undefined, 0)
      if (found) return found
    }
    return undefined
  }

  /**
   * The one credential of a provider of which a file tells when it expires, but not its tokens: an application may keep
   * those elsewhere.
   *
   * @returns `undefined` when there is none, or when there are several and it is not known which.
   */
  onlyOne(provider: string): StoredCredential | undefined {
    const found = this.#patterns
      .flatMap(expand)
      .slice(0, MOST_FILES)
      .flatMap(path => [...tokenless(readJson(path), provider, undefined, 0)])
    const [first, ...others] = found
    return others.every(other => other.profileId === first?.profileId && other.expiresAt === first?.expiresAt) ? first : undefined
  }
}

/** Every credential of the provider that has an expiry and no refresh token. */
function* tokenless(value: unknown, provider: string, name: string | undefined, depth: number): Generator<StoredCredential> {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return
  const fields = value as Readonly<Record<string, unknown>>
  const expiresAt = expiryOf(fields)
  if (expiresAt !== undefined && (fields.provider === provider || name?.startsWith(`${provider}:`))) {
    if (REFRESH_NAMES.every(key => secretText(fields[key]) === undefined))
      yield { profileId: profileIn(name), access: undefined, expiresAt }
    return
  }
  for (const [key, inner] of Object.entries(fields)) yield* tokenless(inner, provider, key, depth + 1)
}

function search(value: unknown, refresh: Fingerprint, name: string | undefined, depth: number): StoredCredential | undefined {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return undefined
  const fields = value as Readonly<Record<string, unknown>>
  if (REFRESH_NAMES.some(key => fingerprint(text(fields[key])) === refresh)) {
    return {
      profileId: profileIn(name),
      access: ACCESS_NAMES.map(key => secretText(fields[key])).find(token => token !== undefined),
      expiresAt: expiryOf(fields),
    }
  }
  for (const [key, inner] of Object.entries(fields)) {
    const found = search(inner, refresh, key, depth + 1)
    if (found) return found
  }
  return undefined
}

/** Epoch milliseconds, whatever the unit it is written in. */
function expiryOf(fields: Readonly<Record<string, unknown>>): number | undefined {
  const expires = EXPIRY_NAMES.map(key => fields[key]).find(given => typeof given === 'number' && given > 0) as number | undefined
  return expires === undefined || expires >= MILLISECONDS ? expires : expires * 1000
}

function profileIn(name: string | undefined): string | undefined {
  return name?.includes(':') ? name : undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function readJson(path: string): unknown {
  try {
    return statSync(path).size > MOST_BYTES ? undefined : JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    // A file that is not there, or just being written, tells nothing.
    return undefined
  }
}

function expand(pattern: string): string[] {
  const path = pattern.replace(/^~(?=$|[\\/])/, homedir())
  const { root } = parse(path)
  let found = [root]
  for (const segment of path.slice(root.length).split(sep === '/' ? '/' : /[\\/]/)) {
    found =
      segment === '*'
        ? found.flatMap(folder => namesIn(folder).map(name => join(folder, name)))
        : found.map(folder => join(folder, segment))
    if (found.length > MOST_FILES) found = found.slice(0, MOST_FILES)
  }
  return found
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
