import type { RefreshReason } from '../domain/enums.ts'
import { valueClassOf } from '../token-requests/request-summary.ts'
import { isJsonObject } from '../tools/json-object.ts'

/** What a client asks of the token endpoint gate. */
export interface TokenGateRequest {
  /** The refresh token it shows. */
  readonly refresh: string
  /** `refresh_reason`, as the Codex CLI sends it: why the client itself says it refreshes. */
  readonly declared: DeclaredReason | undefined
}

/** A refusal by RFC 6749 section 5.2. */
export interface TokenRefusal {
  readonly status: number
  readonly error:
    | 'invalid_request'
    | 'invalid_client'
    | 'invalid_grant'
    | 'unsupported_grant_type'
    | 'slow_down'
    | 'temporarily_unavailable'
  /** What is wrong and what to do; in ASCII, as the RFC wants it. */
  readonly description: string
  readonly retryAfterMs?: number
  /** The provider's own code, where its answer is what is passed on. */
  readonly providerCode?: string
}

/** What the Codex CLI declares, and the reason of ours that it stands for. */
const DECLARED = {
  proactive_expiry: 'expired',
  unauthorized_recovery: 'rejected',
  scheduled: 'scheduled',
  forced: 'forced',
} as const satisfies Record<string, RefreshReason>
export type DeclaredReason = keyof typeof DECLARED

/**
 * Reads a token request: a form (RFC 6749 section 6), or JSON as the Codex CLI and Anthropic's clients send it.
 *
 * @param body What came, as text; `undefined` when nothing could be read.
 */
export function readTokenRequest(contentType: string | undefined, body: string | undefined): TokenGateRequest | TokenRefusal {
  const fields = fieldsOf(contentType?.split(';')[0]?.trim().toLowerCase(), body ?? '')
  if (typeof fields === 'string') return refusal('invalid_request', fields)
  const { grant_type: grantType, refresh_token: given, refresh_reason: declared } = fields
  if (typeof grantType !== 'string' || grantType === '') return refusal('invalid_request', 'grant_type is missing')
  if (grantType !== 'refresh_token') {
    return refusal('unsupported_grant_type', 'this gate only refreshes: grant_type must be refresh_token; sign in at the provider itself')
  }
  const refresh = typeof given === 'string' ? given.trim() : ''
  if (refresh === '') return refusal('invalid_request', 'refresh_token is missing or empty')
  if (valueClassOf(refresh).startsWith('literal:')) {
    return refusal('invalid_request', 'refresh_token holds no token but the text that a program made of a missing one')
  }
  return { refresh, declared: typeof declared === 'string' && isDeclared(declared) ? declared : undefined }
}

/** The reason of ours that a declared one stands for. */
export function reasonDeclared(declared: DeclaredReason): RefreshReason {
  return DECLARED[declared]
}

function isDeclared(reason: string): reason is DeclaredReason {
  return Object.hasOwn(DECLARED, reason)
}

/** The fields of the body, or what is wrong with it. */
function fieldsOf(contentType: string | undefined, body: string): Record<string, unknown> | string {
  if (contentType === 'application/json') return readJson(body)
  if (contentType === 'application/x-www-form-urlencoded') return readForm(body)
  return 'the body must be application/x-www-form-urlencoded or application/json'
}

function readJson(body: string): Record<string, unknown> | string {
  try {
    const parsed: unknown = JSON.parse(body)
    return isJsonObject(parsed) ? parsed : 'the body is not a JSON object'
  } catch {
    return 'the body is not JSON'
  }
}

/** A parameter that stands there twice is refused (RFC 6749 section 3.2): which one holds would be a guess. */
function readForm(body: string): Record<string, unknown> | string {
  const form = new URLSearchParams(body)
  const names = [...form.keys()]
  return new Set(names).size === names.length ? Object.fromEntries(form) : 'a parameter stands in the body twice'
}

function refusal(error: TokenRefusal['error'], description: string): TokenRefusal {
  return { status: 400, error, description }
}
