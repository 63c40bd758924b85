import { anthropicError, chatGptError, openAiError, rfcError } from './answer.ts'

/** An answer as data. */
export interface FaultAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** JSON, or text as it is. A JSON string `$nowSeconds+N` is sent as the number of epoch seconds N seconds ahead. */
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

/** The answer of that name, as the general type: what a reader needs who does not care which one it is. */
export function namedFault(name: FaultName): FaultAnswer {
  return NAMED_FAULTS[name]
}

/** Puts real times where the data says `$nowSeconds+N`. */
export function renderTimes(body: unknown, now: number): unknown {
  if (typeof body === 'string') {
    const ahead = /^\$nowSeconds\+(\d+)$/.exec(body)?.[1]
    return ahead === undefined ? body : Math.floor(now / 1000) + Number(ahead)
  }
  if (Array.isArray(body)) return body.map(item => renderTimes(item, now))
  if (typeof body !== 'object' || body === null) return body
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, renderTimes(value, now)]))
}
