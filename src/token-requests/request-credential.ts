import { createHash } from 'node:crypto'
import { fingerprint } from '../domain/fingerprint.ts'
import type { OutgoingRequest } from '../http-clients/outgoing-request.ts'
import { readJwtClaims, secretText } from '../providers/token-fields.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import type { KnownService } from './endpoint-registry.ts'
import type { AccessToken } from './token-lineage.ts'

/** What a request to a provider authenticates itself with. */
export type RequestCredential =
  | { readonly type: 'token'; readonly token: AccessToken }
  /** A key, which is never refreshed. */
  | { readonly type: 'api_key'; readonly fingerprint: string }
  /** Nothing, or what a careless program makes of nothing. */
  | { readonly type: 'none' }

/** Keys of OpenAI and Anthropic; Anthropic's OAuth tokens begin in the same way (`sk-ant-oat`). */
const API_KEY = /^sk-(?!ant-oat)/

/** What was read of a header, by the service and the header's value: every call of a process carries the same few. */
const bearers = new Map<string, Map<string, { readonly bearer: RequestCredential; readonly secret: string }>>()
let knownBearers = 0

/**
 * Reads what a request carries, fingerprints and times only. The token itself is hidden from now on.
 *
 */
export function requestCredentialIn(request: Pick<OutgoingRequest, 'header'>, service: KnownService): RequestCredential {
  const given = request.header('x-api-key') ?? request.header('authorization') ?? ''
  const known = bearers.get(service.id)?.get(given)
  if (known) {
    registerSecret(known.secret)
    return known.bearer
  }
  return read(request, service, given)
}

function read(request: Pick<OutgoingRequest, 'header'>, service: KnownService, given: string): RequestCredential {
  const key = secretText(request.header('x-api-key'))
  const [, bearer] = /^bearer\s+(.*)$/i.exec(request.header('authorization') ?? '') ?? []
  const secret = key ?? secretText(bearer)
  if (secret === undefined) return { type: 'none' }
  const isKey = key !== undefined || API_KEY.test(secret)
  const found: RequestCredential = isKey
    ? { type: 'api_key', fingerprint: fingerprint(secret) ?? '' }
    : { type: 'token', token: accessTokenOf(secret, service) }
  // An empty `x-api-key` beside a token is nothing to know a request by.
  if (given !== '' && given.includes(secret)) remember(service.id, given, { bearer: found, secret })
  return found
}

function remember(service: string, given: string, known: { readonly bearer: RequestCredential; readonly secret: string }): void {
  if (knownBearers >= MOST_CACHED) {
    bearers.clear()
    knownBearers = 0
  }
  knownBearers += 1
  const ofService = bearers.get(service)
  if (ofService) ofService.set(given, known)
  else bearers.set(service, new Map([[given, known]]))
}

const MOST_CACHED = 200
const tokens = new Map<string, AccessToken>()

/** What an access token says of itself. Looked at once: every call of a process carries the same few. */
export function accessTokenOf(token: string, service: KnownService, grantedForMs?: { expiresAt: number; issuedAt: number }): AccessToken {
  const key = fingerprint(token) ?? ''
  const known = tokens.get(key)
  if (known) return known
  const { exp, iat, sub } = readJwtClaims(token) ?? {}
  const account = service.accountOf(token) ?? (typeof sub === 'string' && sub !== '' ? sub : undefined)
  const found: AccessToken = {
    fingerprint: key,
    expiresAt: moment(exp) ?? grantedForMs?.expiresAt,
    issuedAt: moment(iat) ?? grantedForMs?.issuedAt,
    account: account === undefined ? undefined : digest(account),
  }
  if (tokens.size >= MOST_CACHED) tokens.clear()
  tokens.set(key, found)
  return found
}

/** Epoch seconds of a claim (RFC 7519 section 2, NumericDate) as epoch milliseconds. */
function moment(claim: unknown): number | undefined {
  return typeof claim === 'number' && Number.isFinite(claim) && claim > 0 ? claim * 1000 : undefined
}

function digest(account: string): string {
  return createHash('sha256').update('gatewatch-account-v1\0').update(account).digest('hex').slice(0, 12)
}
