import * as v from 'valibot'
import { configError } from '../domain/gateway-error.ts'
import { anthropicError, chatGptError, openAiError, rfcError } from './http-exchange.ts'

/** An answer as data. */
interface FaultAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** JSON, or text that is sent unchanged. A JSON string `$nowSeconds+N` is sent as the number of epoch seconds N seconds ahead. */
  readonly body: unknown
}

const HTML = { 'content-type': 'text/html; charset=UTF-8' }

/**
 * The answers seen in the field, by name. Texts and codes are the providers' own, as users quoted them.
 *
 * Token endpoint (OpenAI): `refresh_token_*`, `token_expired_garbage`, `empty_refresh`, `region_403`. Token endpoint
 * (RFC 6749 and Anthropic): `invalid_grant_400`, `invalid_client_401`, `client_secret_missing_400`. ChatGPT backend:
 * `token_invalidated_401`, `token_expired_401`, `usage_limit_429`, `invalid_encrypted_content`. Anthropic API:
 * `anthropic_*`, `overloaded_529`. The others may come from anywhere.
 */
export const NAMED_FAULTS = {
  refresh_token_reused: {
    status: 401,
    body: openAiError(
      'refresh_token_reused',
      'Your refresh token has already been used to generate a new access token. Please try signing in again.',
    ),
  },
  refresh_token_invalidated: {
    status: 401,
    body: openAiError('refresh_token_invalidated', 'Your refresh token has been invalidated. Please try signing in again.'),
  },
  refresh_token_expired: {
    status: 401,
    body: openAiError('refresh_token_expired', 'Your refresh token has expired. Please try signing in again.'),
  },
  token_expired_garbage: {
    status: 401,
    body: openAiError('token_expired', 'Could not validate your token. Please try signing in again.'),
  },
  empty_refresh: {
    status: 400,
    body: openAiError(
      'empty_string',
      "Invalid 'refresh_token': empty string. Expected a string with minimum length 1, but got an empty string instead.",
      { param: 'refresh_token' },
    ),
  },
  region_403: {
    status: 403,
    body: openAiError('unsupported_country_region_territory', 'Country, region, or territory not supported', { type: 'request_forbidden' }),
  },
  cloudflare_html_403: {
    status: 403,
    headers: { ...HTML, server: 'cloudflare', 'cf-ray': '8f00000000000000-FRA' },
    body: '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>Enable JavaScript and cookies to continue</body></html>',
  },
  unavailable_503: { status: 503, body: openAiError(null, 'The server is currently unavailable.', { type: 'server_error' }) },
  bad_gateway_html_502: {
    status: 502,
    headers: HTML,
    body: '<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>',
  },
  server_error_500: {
    status: 500,
    body: openAiError('server_error', 'The server had an error while processing your request. Sorry about that!', { type: 'server_error' }),
  },
  throttled_429: {
    status: 429,
    headers: { 'retry-after': '2' },
    body: openAiError('rate_limit_exceeded', 'Rate limit reached. Please try again in 2s.', { type: 'requests' }),
  },
  usage_limit_429: {
    status: 429,
    headers: { 'x-codex-plan-type': 'plus', 'x-codex-primary-used-percent': '100' },
    body: {
      error: {
        type: 'usage_limit_reached',
        message: 'The usage limit has been reached',
        plan_type: 'plus',
        resets_at: '$nowSeconds+3600',
        resets_in_seconds: 3600,
      },
    },
  },
  insufficient_quota_429: {
    status: 429,
    body: openAiError('insufficient_quota', 'You exceeded your current quota, please check your plan and billing details.', {
      type: 'insufficient_quota',
    }),
  },
  payment_required_402: {
    status: 402,
    body: openAiError('billing_hard_limit_reached', 'Billing hard limit has been reached.', { type: 'billing_error' }),
  },
  model_not_found_404: {
    status: 404,
    body: openAiError('model_not_found', 'The model does not exist or you do not have access to it.', { param: 'model' }),
  },
  bad_request_400: {
    status: 400,
    body: openAiError('invalid_value', "Invalid value: 'input'.", { param: 'input' }),
  },
  invalid_encrypted_content: {
    status: 400,
    body: openAiError('invalid_encrypted_content', 'The encrypted content could not be verified.'),
  },
  token_invalidated_401: {
    status: 401,
    body: chatGptError('token_invalidated', 'Your authentication token has been invalidated. Please try signing in again.'),
  },
  token_expired_401: { status: 401, body: chatGptError('token_expired', 'Provided authentication token is expired.') },
  missing_bearer_401: { status: 401, body: openAiError(null, 'Missing bearer or basic authentication in header') },
  missing_scope_403: {
    status: 403,
    body: openAiError('missing_scope', 'You have insufficient permissions for this operation. Missing scopes: model.request'),
  },
  invalid_api_key_401: { status: 401, body: openAiError('invalid_api_key', 'Incorrect API key provided.') },
  invalid_grant_400: { status: 400, body: rfcError('invalid_grant', 'Refresh token not found or invalid') },
  invalid_client_401: { status: 401, body: rfcError('invalid_client', 'Unknown client') },
  client_secret_missing_400: { status: 400, body: rfcError('invalid_request', 'client_secret is missing.') },
  anthropic_token_expired_401: {
    status: 401,
    body: anthropicError('authentication_error', 'OAuth token has expired. Please obtain a new token or refresh your existing token.'),
  },
  anthropic_token_revoked_401: {
    status: 401,
    body: anthropicError('authentication_error', 'OAuth token has been revoked. Please obtain a new token.'),
  },
  // What the firewall in front of Anthropic's token endpoint says to a User-Agent it does not like: no Retry-After.
  anthropic_firewall_429: { status: 429, body: anthropicError('rate_limit_error', 'Rate limited. Please try again later.') },
  overloaded_529: { status: 529, body: anthropicError('overloaded_error', 'Overloaded') },
} as const satisfies Record<string, FaultAnswer>

export type FaultName = keyof typeof NAMED_FAULTS

/** Names in the order of the table. */
export const FAULT_NAMES = Object.keys(NAMED_FAULTS) as FaultName[]

/** The answer of that name, as the general type. */
export function namedFault(name: FaultName): FaultAnswer {
  return NAMED_FAULTS[name]
}

/** Replaces `$nowSeconds+N` by the time. */
export function renderTimes(body: unknown, now: number): unknown {
  if (typeof body === 'string') {
    const ahead = /^\$nowSeconds\+(\d+)$/.exec(body)?.[1]
    return ahead === undefined ? body : Math.floor(now / 1000) + Number(ahead)
  }
  if (Array.isArray(body)) return body.map(item => renderTimes(item, now))
  if (typeof body !== 'object' || body === null) return body
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, renderTimes(value, now)]))
}

const EXPIRES_IN_FAULTS = ['missing', 'zero', 'string', 'milliseconds'] as const
type ExpiresInFault = (typeof EXPIRES_IN_FAULTS)[number]

/** Fields of a token answer that can be left out. */
const TOKEN_ANSWER_FIELDS = ['access_token', 'refresh_token', 'id_token'] as const
type TokenAnswerField = (typeof TOKEN_ANSWER_FIELDS)[number]

/** Effects of a fault, which can be combined: a slow 503 is `{ status: 503, latencyMs: 2000 }`. */
export interface FaultEffect {
  /** An answer of `NAMED_FAULTS` replaces the real one; nothing is committed. */
  name?: FaultName
  /** Status of an answer that replaces the real one, or the status of `name`. 200 to 599. */
  status?: number
  /** Added to the headers of the answer. */
  headers?: Record<string, string>
  /** Body of the answer of `name` or `status`. JSON, or text that is sent unchanged. */
  body?: unknown
  /** Delay of the answer, in ms. A token request is committed before it, so a client that stops waiting loses a rotation. */
  latencyMs?: number
  /** The connection is reset before the request is processed. */
  resetBeforeCommit?: boolean
  /** The request is processed (tokens are rotated), then the connection is reset without an answer. */
  resetAfterCommit?: boolean
  /** The request is not processed and not answered until the client leaves or the simulator stops. */
  hang?: boolean
  /** The request is processed, then not answered. */
  hangAfterCommit?: boolean
  /** Pause before each server-sent event, in ms. */
  slowChunksMs?: number
  /** The connection is reset after this number of server-sent events. */
  cutStreamAfterChunks?: number
  /** `expires_in` of a token answer is missing, 0, a string, or counted in milliseconds. */
  expiresIn?: ExpiresInFault
  /** The `Date` header is ahead by this many ms; negative: behind. */
  dateSkewMs?: number
  /** The token answer carries the access and id token of this account. */
  switchAccountTo?: string
  /** Fields that are missing from a token answer. Without `refresh_token` the old one stays good, as at Google. */
  omit?: TokenAnswerField[]
  /** The body is cut in the middle. */
  invalidJson?: boolean
  /** The body is padded to at least this many bytes; JSON stays JSON. */
  hugeBodyBytes?: number
}

/**
 * A fault as data: where, how often, for which requests, and with which effect. Plain JSON, so that a list can be a file.
 *
 * If several faults match a request, only the one that was injected first takes effect: faults with `times: 1` form a sequence.
 */
export interface Fault extends FaultEffect {
  /** `token` (every token endpoint), `provider` (every provider endpoint), `all`, or a path; `*` stands for any run of characters. */
  where: 'token' | 'provider' | 'all' | `/${string}`
  /** How many requests it affects. At least 1. @default until removed */
  times?: number
  /** How many matching requests pass first. @default 0 */
  skip?: number
  /** Only requests that carry a token of this account. */
  account?: string
  /** Only requests whose User-Agent does not match this pattern (`claude-cli/*`): a firewall. */
  unlessUserAgent?: string
}

const count = (least: number) => v.pipe(v.number(), v.integer(), v.minValue(least))
const PATTERN = v.custom<`/${string}`>(
  value => typeof value === 'string' && value.startsWith('/'),
  "expected 'token', 'provider', 'all' or a path that begins with '/'",
)

const FAULT = v.strictObject({
  where: v.union([v.picklist(['token', 'provider', 'all']), PATTERN]),
  times: v.exactOptional(count(1)),
  skip: v.exactOptional(count(0)),
  account: v.exactOptional(v.string()),
  unlessUserAgent: v.exactOptional(v.string()),
  name: v.exactOptional(v.picklist(FAULT_NAMES)),
  status: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599))),
  headers: v.exactOptional(v.record(v.string(), v.string())),
  body: v.exactOptional(v.unknown()),
  latencyMs: v.exactOptional(count(0)),
  resetBeforeCommit: v.exactOptional(v.boolean()),
  resetAfterCommit: v.exactOptional(v.boolean()),
  hang: v.exactOptional(v.boolean()),
  hangAfterCommit: v.exactOptional(v.boolean()),
  slowChunksMs: v.exactOptional(count(0)),
  cutStreamAfterChunks: v.exactOptional(count(0)),
  expiresIn: v.exactOptional(v.picklist(EXPIRES_IN_FAULTS)),
  dateSkewMs: v.exactOptional(v.pipe(v.number(), v.integer())),
  switchAccountTo: v.exactOptional(v.string()),
  omit: v.exactOptional(v.array(v.picklist(TOKEN_ANSWER_FIELDS))),
  invalidJson: v.exactOptional(v.boolean()),
  hugeBodyBytes: v.exactOptional(count(1)),
}) satisfies v.GenericSchema<unknown, Fault>

/**
 * Checks that a value, perhaps from a file, is a fault.
 *
 * @throws {GatewayError} `GW_CONFIG` that names the key and what is allowed there.
 */
function readFault(value: unknown): Fault {
  const result = v.safeParse(FAULT, value)
  if (!result.success) {
    const [issue] = result.issues
    const key = v.getDotPath(issue) ?? 'the fault itself'
    throw configError(`fault not understood at ${key}: ${issue.message}`)
  }
  if (result.output.body !== undefined && !result.output.name && result.output.status === undefined) {
    throw configError('a fault with a body needs a status or a name')
  }
  return result.output
}

/** The answer that replaces the real one; `undefined` if the fault does not replace it. */
export function faultAnswer(effect: FaultEffect, now: number): (FaultAnswer & { readonly code: string }) | undefined {
  const named = effect.name && namedFault(effect.name)
  const status = effect.status ?? named?.status
  if (status === undefined) return undefined
  const body = effect.body ?? named?.body ?? { error: { message: 'simulated fault', type: 'simulated', param: null, code: null } }
  return { status, headers: named?.headers ?? {}, body: renderTimes(body, now), code: effect.name ?? `status_${status}` }
}

/** The request a fault is looked up for. */
interface FaultPlace {
  readonly kind: 'token' | 'provider' | 'other'
  readonly path: string
  readonly account: string | undefined
  readonly userAgent: string
}

/** A fault that was injected. */
export interface InjectedFault {
  /** How many requests it has affected. */
  hits(): number
  remove(): void
}

interface ActiveFault {
  readonly fault: Fault
  matched: number
  hits: number
}

const NO_EFFECT: FaultEffect = {}

/** The injected faults. */
export class FaultInjector {
  readonly #active = new Set<ActiveFault>()

  /**
   * Adds a fault.
   *
   * @throws {GatewayError} `GW_CONFIG` if it is invalid.
   */
  inject(fault: Fault): InjectedFault {
    const active: ActiveFault = { fault: readFault(fault), matched: 0, hits: 0 }
    this.#active.add(active)
    return { hits: () => active.hits, remove: () => this.#active.delete(active) }
  }

  /** Returns the effect of the first matching fault and counts the request. */
  take(place: FaultPlace): FaultEffect {
    for (const active of this.#active) {
      if (!fits(active.fault, place)) continue
      active.matched += 1
      if (active.matched <= (active.fault.skip ?? 0)) continue
      active.hits += 1
      if (active.hits === active.fault.times) this.#active.delete(active)
      return active.fault
    }
    return NO_EFFECT
  }

  clear(): void {
    this.#active.clear()
  }
}

function fits(fault: Fault, place: FaultPlace): boolean {
  if (fault.account !== undefined && fault.account !== place.account) return false
  if (fault.unlessUserAgent !== undefined && fitsPattern(fault.unlessUserAgent, place.userAgent)) return false
  switch (fault.where) {
    case 'all':
      return true
    case 'token':
    case 'provider':
      return fault.where === place.kind
    default:
      return fitsPattern(fault.where, place.path)
  }
}

function fitsPattern(pattern: string, text: string): boolean {
  const source = pattern.split('*').map(part => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${source.join('.*')}$`, 's').test(text)
}
