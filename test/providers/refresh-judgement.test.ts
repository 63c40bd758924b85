import { describe, expect, it } from 'vitest'
import { anthropic } from '../../src/providers/anthropic.ts'
import { openaiCodex } from '../../src/providers/openai.ts'

const E = (code: string | null, message = '') => JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } })
const R = (error: string, description?: string) => JSON.stringify({ error, error_description: description })
const J = (body: object) => JSON.stringify(body)
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
    ['an unknown client', 401, R('invalid_client'), { outcome: 'refused', providerCode: 'invalid_client' }],
    ['a missing secret', 400, R('invalid_request', 'client_secret is missing.'), { outcome: 'refused', providerCode: 'invalid_request' }],
    [
      'a request without a token',
      400,
      R('invalid_request', 'refresh token is missing'),
      { outcome: 'malformed', providerCode: 'invalid_request' },
    ],
    ['a client without the right', 400, R('unauthorized_client'), { outcome: 'refused', providerCode: 'unauthorized_client' }],
    ['a code only OpenAI has', 401, E('refresh_token_expired'), { outcome: 'forbidden', providerCode: 'refresh_token_expired' }],
    ['a 400 of an unknown kind', 400, '{"msg":"no"}', { outcome: 'forbidden' }],
    ['an endpoint that moved', 404, html, { outcome: 'unavailable' }],
    ['a time-out', 408, '', { outcome: 'unavailable' }],
    ['a code that every object has a property for', 401, R('constructor'), { outcome: 'forbidden', providerCode: 'constructor' }],
    ['a bad gateway', 502, html, { outcome: 'unavailable' }],
    ['a redirect', 307, '', { outcome: 'redirected' }],
  ])('%s is judged', (_what, status, body, judgement) => {
    expect(judgeRefresh({ status, headers: {}, body })).toEqual(judgement)
  })

  // Seen: interaction_required and its kin were "forbidden", tried again for ever; invalid_client said "sign in again"; a
  // refusal with status 200 was taken for an answer that was lost on its way. Issue 1 of 6, C3.
  it.each([
    ['multi-factor authentication (Entra)', 400, R('interaction_required'), 'interaction_required', 'interaction_required'],
    ['consent', 400, R('consent_required'), 'interaction_required', 'consent_required'],
    ['a login', 400, R('login_required'), 'interaction_required', 'login_required'],
    ['an account', 400, R('account_selection_required'), 'interaction_required', 'account_selection_required'],
    [
      'consent, beside invalid_grant (Entra)',
      400,
      J({ error: 'invalid_grant', suberror: 'consent_required' }),
      'interaction_required',
      'consent_required',
    ],
    [
      'a new sign-in, beside invalid_grant (Google)',
      400,
      J({ error: 'invalid_grant', error_subtype: 'invalid_rapt' }),
      'interaction_required',
      'invalid_rapt',
    ],
    [
      'nothing new, beside invalid_grant (Entra)',
      400,
      J({ error: 'invalid_grant', suberror: 'bad_token' }),
      'invalidated',
      'invalid_grant',
    ],
    ['with 200 (GitHub)', 200, R('bad_refresh_token'), 'invalidated', 'bad_refresh_token'],
    [
      'as a form with 200 (GitHub)',
      200,
      'error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect',
      'invalidated',
      'bad_refresh_token',
    ],
    ['with ok: false (Slack)', 200, J({ ok: false, error: 'invalid_refresh_token' }), 'invalidated', 'invalid_refresh_token'],
    ['with 200 and no code that is known', 200, R('strange_thing'), 'forbidden', 'strange_thing'],
    ['with 200, for now', 200, R('server_error'), 'unavailable', 'server_error'],
    ['in a field called status (HubSpot)', 400, J({ status: 'BAD_REFRESH_TOKEN', message: 'unknown' }), 'invalidated', 'BAD_REFRESH_TOKEN'],
    [
      'in a message (Firebase)',
      400,
      J({ error: { code: 400, message: 'TOKEN_EXPIRED', status: 'INVALID_ARGUMENT' } }),
      'grant_expired',
      'TOKEN_EXPIRED',
    ],
    [
      'in a sentence (Cognito)',
      400,
      J({ __type: 'NotAuthorizedException', message: 'Refresh Token has been revoked' }),
      'invalidated',
      'NotAuthorizedException',
    ],
    [
      'in a sentence, under a code that says something else (Atlassian)',
      403,
      R('unauthorized_client', 'refresh_token is invalid'),
      'invalidated',
      'unauthorized_client',
    ],
    ['of a client, in another word (GitHub)', 200, R('incorrect_client_credentials'), 'refused', 'incorrect_client_credentials'],
    [
      'of one of two requests at once (Salesforce)',
      400,
      R('invalid_grant', 'token request is already being processed'),
      'throttled',
      'invalid_grant',
    ],
    ['in a wall of HTML', 200, html, 'forbidden', undefined],
  ])('a refusal is known: %s', (_what, status, body, outcome, providerCode) => {
    expect(judgeRefresh({ status, headers: {}, body })).toEqual({ outcome, ...(providerCode && { providerCode }) })
  })

  it('reads how long to wait where waiting helps', () => {
    const headers = { 'retry-after': '60' }
    expect(judgeRefresh({ status: 429, headers, body: '' })).toEqual({ outcome: 'throttled', retryAfterMs: 60_000 })
    expect(judgeRefresh({ status: 503, headers, body: '' })).toEqual({ outcome: 'unavailable', retryAfterMs: 60_000 })
    expect(judgeRefresh({ status: 400, headers, body: R('invalid_grant') })).not.toHaveProperty('retryAfterMs')
  })
})
