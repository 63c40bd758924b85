import { createHash } from 'node:crypto'
import { fingerprint } from '../domain/fingerprint.ts'
import { readJwtClaims } from '../providers/jwt-claims.ts'
import { secretText } from '../providers/secret-text.ts'
import type { KnownService } from './known-endpoints.ts'
import type { SentHeaders } from './sent-headers.ts'
import type { AccessToken } from './token-ledger.ts'

/** What a request to a provider authenticates itself with. */
export type Bearer =
  | { readonly type: 'token'; readonly token: AccessToken }
  /** A key: nobody refreshes it. */
  | { readonly type: 'api_key'; readonly fingerprint: string }
  /** Nothing, or what a careless program makes of nothing. */
  | { readonly type: 'none' }

/** Keys of OpenAI and Anthropic; Anthropic's OAuth tokens begin in the same way (`sk-ant-oat`). */
const API_KEY = /^sk-(?!ant-oat)/

/** Reads what a request carries, fingerprints and times only. The token itself is hidden from now on. */
export function bearerIn(headers: SentHeaders, service: KnownService): Bearer {
  const key = secretText(headers['x-api-key'])
  if (key !== undefined) return { type: 'api_key', fingerprint: fingerprint(key) ?? '' }
  const [, given] = /^bearer\s+(.*)$/i.exec(headers.authorization ?? '') ?? []
  const token = secretText(given)
  if (token === undefined) return { type: 'none' }
  if (API_KEY.test(token)) return { type: 'api_key', fingerprint: fingerprint(token) ?? '' }
  return { type: 'token', token: accessTokenOf(token, service) }
}

const MOST_CACHED = 200
const read = new Map<string, AccessToken>()

/** What an access token says of itself. Looked at once: every call of a process carries the same few. */
export function accessTokenOf(token: string, service: KnownService, grantedForMs?: { expiresAt: number; issuedAt: number }): AccessToken {
  const key = fingerprint(token) ?? ''
  const known = read.get(key)
  if (known) return known
  const { exp, iat, sub } = readJwtClaims(token) ?? {}
  const account = service.accountOf(token) ?? (typeof sub === 'string' && sub !== '' ? sub : undefined)
  const found: AccessToken = {
    fingerprint: key,
    expiresAt: moment(exp) ?? grantedForMs?.expiresAt,
    issuedAt: moment(iat) ?? grantedForMs?.issuedAt,
    account: account === undefined ? undefined : digest(account),
  }
  if (read.size >= MOST_CACHED) read.clear()
  read.set(key, found)
  return found
}

/** Epoch seconds of a claim (RFC 7519 section 2, NumericDate) as epoch milliseconds. */
function moment(claim: unknown): number | undefined {
  return typeof claim === 'number' && Number.isFinite(claim) && claim > 0 ? claim * 1000 : undefined
}

function digest(account: string): string {
  return createHash('sha256').update('gatewatch-account-v1\0').update(account).digest('hex').slice(0, 12)
}
