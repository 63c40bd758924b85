import { describe, expect, it } from 'vitest'
import { anthropic } from '../../src/providers/anthropic.ts'
import { openaiCodex } from '../../src/providers/openai-codex.ts'

const E = (code: string | null, message = '') => JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } })
const R = (error: string, description?: string) => JSON.stringify({ error, error_description: description })
const html = '<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>'

describe("judging OpenAI's refusals of a token request", () => {
  const { judgeRefresh } = openaiCodex()

  it.each([
    [
      'a used token',
      401,
      E('refresh_token_reused', 'Your refresh token has already been used'),
      { outcome: 'invalidated', providerCode: 'refresh_token_reused', replayed: true },
    ],
    ['an invalidated token', 401, E('refresh_token_invalidated'), { outcome: 'invalidated', providerCode: 'refresh_token_invalidated' }],
    ['an expired token', 401, E('refresh_token_expired'), { outcome: 'grant_expired', providerCode: 'refresh_token_expired' }],
    [
      'garbage',
      401,
      E('token_expired', 'Could not validate your token. Please try signing in again.'),
      { outcome: 'malformed', providerCode: 'token_expired' },
    ],
    [
      'an expired token of the other word',
      401,
      E('token_expired', 'Your token has expired.'),
      { outcome: 'grant_expired', providerCode: 'token_expired' },
    ],
    [
      'an empty token',
      400,
      E(null, "Invalid 'refresh_token': empty string. Expected a string with minimum length 1"),
      { outcome: 'malformed', providerCode: 'invalid_request_error' },
    ],
    [
      'a refused region',
      403,
      E('unsupported_country_region_territory'),
      { outcome: 'forbidden', providerCode: 'unsupported_country_region_territory' },
    ],
    ['a wall of HTML', 403, html, { outcome: 'forbidden' }],
    [
      'a 401 without a known code',
      401,
      E(null, 'Please try signing in again.'),
      { outcome: 'forbidden', providerCode: 'invalid_request_error' },
    ],
    ['an empty 401', 401, '', { outcome: 'forbidden' }],
    ['a clear code under a 500', 500, E('refresh_token_reused'), { outcome: 'unavailable', providerCode: 'refresh_token_reused' }],
  ])('%s is judged', (_what, status, body, judgement) => {
    expect(judgeRefresh({ status, headers: {}, body })).toEqual(judgement)
  })
})

describe('judging refusals by RFC 6749', () => {
  const { judgeRefresh } = anthropic()

  it.each([
    [
      'a dead grant',
      400,
      R('invalid_grant', 'Refresh token not found or invalid'),
      { outcome: 'invalidated', providerCode: 'invalid_grant' },
    ],
    [
      'a used token',
      400,
      R('invalid_grant', 'Refresh token has already been used'),
      { outcome: 'invalidated', providerCode: 'invalid_grant', replayed: true },
    ],
    ['a dead grant under 403, as Auth0 has it', 403, R('invalid_grant'), { outcome: 'invalidated', providerCode: 'invalid_grant' }],
    ['an unknown client', 401, R('invalid_client'), { outcome: 'malformed', providerCode: 'invalid_client' }],
    ['a missing secret', 400, R('invalid_request', 'client_secret is missing.'), { outcome: 'malformed', providerCode: 'invalid_request' }],
    ['a client without the right', 400, R('unauthorized_client'), { outcome: 'malformed', providerCode: 'unauthorized_client' }],
    ['a code only OpenAI has', 401, E('refresh_token_expired'), { outcome: 'forbidden', providerCode: 'refresh_token_expired' }],
    ['a 400 of an unknown kind', 400, '{"msg":"no"}', { outcome: 'forbidden' }],
    ['an endpoint that moved', 404, html, { outcome: 'unavailable' }],
    ['a time-out', 408, '', { outcome: 'unavailable' }],
    ['a code that every object has a property for', 401, R('constructor'), { outcome: 'forbidden', providerCode: 'constructor' }],
    ['a bad gateway', 502, html, { outcome: 'unavailable' }],
    ['a redirect', 307, '', { outcome: 'unavailable' }],
  ])('%s is judged', (_what, status, body, judgement) => {
    expect(judgeRefresh({ status, headers: {}, body })).toEqual(judgement)
  })

  it('reads how long to wait where waiting helps', () => {
    const headers = { 'retry-after': '60' }
    expect(judgeRefresh({ status: 429, headers, body: '' })).toEqual({ outcome: 'throttled', retryAfterMs: 60_000 })
    expect(judgeRefresh({ status: 503, headers, body: '' })).toEqual({ outcome: 'unavailable', retryAfterMs: 60_000 })
    expect(judgeRefresh({ status: 400, headers, body: R('invalid_grant') })).not.toHaveProperty('retryAfterMs')
  })
})
