import { describe, expect, it } from 'vitest'
import { judgeAttempt } from '../../src/providers/attempt-judgement.ts'

const E = (code: string | null, message = '', more: object = {}) =>
  JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code, ...more } })
const anthropic = (type: string, message: string) => JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_1' })
const html = '<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>'

const TABLE: readonly (readonly [what: string, status: number, body: string, outcome: string])[] = [
  ['an expired access token', 401, E('token_expired', 'Provided authentication token is expired.'), 'auth'],
  ['a token that was invalidated', 401, E('token_invalidated', 'Your authentication token has been invalidated.'), 'auth_permanent'],
  ['a deactivated account', 401, E('account_deactivated'), 'auth_permanent'],
  ['a deactivated organization, by text', 403, E(null, 'Your organization has been disabled.'), 'auth_permanent'],
  ['a disabled Anthropic organization', 401, anthropic('authentication_error', 'This organization has been disabled.'), 'auth_permanent'],
  ['an expired Anthropic token', 401, anthropic('authentication_error', 'OAuth token has expired.'), 'auth'],
  ['no authorization at all', 401, E(null, 'Missing bearer or basic authentication in header'), 'auth'],
  ['a wrong key', 401, E('invalid_api_key', 'Incorrect API key provided: sk-abc***'), 'auth'],
  ["Google's wrong key", 400, E(null, 'API key not valid. Please pass a valid API key.'), 'auth'],
  ['an empty 401', 401, '', 'auth'],
  [
    'a missing scope',
    403,
    E(null, 'You have insufficient permissions for this operation. Missing scopes: model.request'),
    'auth_permanent',
  ],
  ['a forbidden Anthropic resource', 403, anthropic('permission_error', 'no'), 'auth_permanent'],
  ['a bare 403', 403, '{}', 'auth'],
  ['a wall of HTML', 403, html, 'overloaded'],
  ['a refused region', 403, E('unsupported_country_region_territory', 'Country, region, or territory not supported'), 'auth_permanent'],
  ['payment required', 402, '{}', 'billing'],
  ['no quota left', 429, E('insufficient_quota', 'You exceeded your current quota'), 'billing'],
  [
    'no credit at Anthropic',
    400,
    anthropic('invalid_request_error', 'Your credit balance is too low to access the Anthropic API.'),
    'billing',
  ],
  ['too many requests', 429, E('rate_limit_exceeded'), 'rate_limit'],
  ['too many requests, without a word', 429, '', 'rate_limit'],
  ['too many requests, as HTML', 429, html, 'rate_limit'],
  ['an unknown model', 404, E('model_not_found', 'The model `gpt-9` does not exist'), 'model_not_found'],
  ['an unknown Anthropic model', 404, anthropic('not_found_error', 'model: claude-9'), 'model_not_found'],
  ['a model without access', 403, E('model_not_found', 'Project does not have access to model'), 'model_not_found'],
  [
    'a model ChatGPT does not serve',
    400,
    JSON.stringify({ detail: "The 'gpt-9' model is not supported when using Codex with a ChatGPT account." }),
    'model_not_found',
  ],
  ['a response that is gone', 404, E(null, "Previous response with id 'resp_1' not found."), 'format'],
  ['a wrong address', 404, '<html>404</html>', 'format'],
  ['a malformed request', 400, E('invalid_value', 'Invalid value'), 'format'],
  ['reasoning of another account', 400, E('invalid_encrypted_content'), 'format'],
  ['a request that cannot be processed', 422, '{"detail":[{"msg":"field required"}]}', 'format'],
  ['a request that is too large', 413, anthropic('request_too_large', 'Request exceeds the maximum size'), 'format'],
  ['a request time-out', 408, '', 'timeout'],
  ['a gateway time-out', 504, html, 'timeout'],
  ["Cloudflare's time-out", 524, html, 'timeout'],
  ['an overloaded provider', 503, E('server_is_overloaded'), 'overloaded'],
  ['an unavailable provider, as HTML', 503, html, 'overloaded'],
  ['an overloaded Anthropic', 529, anthropic('overloaded_error', 'Overloaded'), 'overloaded'],
  ['an overloaded Anthropic that says 500', 500, anthropic('overloaded_error', 'Overloaded'), 'overloaded'],
  ['a server error', 500, E('server_error'), 'server_error'],
  ['a bad gateway', 502, html, 'server_error'],
  ['a redirect', 302, '', 'server_error'],
]

describe('judging a refused model call', () => {
  it.each(TABLE)('%s (%i) is judged', (_what, status, body, outcome) => {
    expect(judgeAttempt({ status, headers: {}, body }).outcome).toBe(outcome)
  })

  it.each([
    ['seconds', { 'retry-after': '7' }, '', 7000],
    ['a fraction', { 'retry-after': '0.5' }, '', 500],
    ['milliseconds', { 'retry-after-ms': '350', 'retry-after': '1' }, '', 350],
    [
      "a date on the provider's clock",
      { 'retry-after': 'Thu, 01 Jan 1970 00:01:00 GMT', date: 'Thu, 01 Jan 1970 00:00:30 GMT' },
      '',
      30_000,
    ],
    ['a date that has passed', { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, '', 0],
    ['the seconds of a usage limit', {}, E('usage_limit_reached', '', { resets_in_seconds: 90 }), 90_000],
    ['the moment of a usage limit', { date: 'Thu, 01 Jan 1970 00:00:30 GMT' }, E('usage_limit_reached', '', { resets_at: 100 }), 70_000],
    ['nonsense', { 'retry-after': '-1' }, '', undefined],
  ])('reads how long to wait from %s', (_what, headers, body, expected) => {
    expect(judgeAttempt({ status: 429, headers, body }).retryAfterMs).toBe(expected)
  })

  it('tells a usage limit by its type, as the ChatGPT backend writes it', () => {
    const body = JSON.stringify({ error: { type: 'usage_limit_reached', message: 'x', plan_type: 'plus', resets_in_seconds: 60 } })
    expect(judgeAttempt({ status: 429, headers: {}, body })).toEqual({
      outcome: 'rate_limit',
      providerCode: 'usage_limit_reached',
      retryAfterMs: 60_000,
    })
  })

  it('reads no wait where waiting does not help', () => {
    expect(judgeAttempt({ status: 401, headers: { 'retry-after': '7' }, body: '' })).toEqual({ outcome: 'auth' })
  })

  it.each(['Your token is bad', 'sk-proj-abcdef', 'eyJhbGciOi', 'rt_1', 'a1b2c3d4e5f6a7b8', 'x'.repeat(65), '42', ''])(
    'records no code that is not a word: %s',
    code => {
      expect(judgeAttempt({ status: 401, headers: {}, body: JSON.stringify({ error: { code } }) })).not.toHaveProperty('providerCode')
    },
  )
})
