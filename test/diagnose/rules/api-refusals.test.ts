import { describe, expect, it } from 'vitest'
import type { AttemptEvent, GatewatchEvent } from '../../../src/domain/events.ts'
import { AGENT, attempt, call, called, findings, kinds, MODELS, PAID, RESPONSES, refresh } from '../events.ts'

describe('401 from the API', () => {
  it('with time left to the expiry is reported with how the refresh after it ended', () => {
    const [finding] = findings(rejected(0, 864_000), refresh(1, { reason: 'rejected' }))
    expect(finding).toMatchObject({ kind: 'rejected_while_valid', what: expect.stringContaining('1 of 1 refresh') })
  })

  it('with an expired token is what is to be expected', () => {
    expect(kinds(rejected(0, -5))).toEqual([])
  })
})

describe('401 of one path', () => {
  it('while another one takes the same token afterwards is the path, not the token', () => {
    const [finding, ...others] = findings(called(0, MODELS, 401), called(1, MODELS, 401), called(2, MODELS, 401), called(3, RESPONSES))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'endpoint_rejects_token', what: expect.stringContaining(MODELS) })
  })

  it.each<[string, GatewatchEvent[]]>([
    ['the other path took the token only before: it may have ended since', [called(0, RESPONSES), called(1, MODELS, 401)]],
    ['the other path took another token', [called(0, MODELS, 401), called(1, RESPONSES, 200, 'bbbbbbbbbbbb')]],
    ['the path served other calls with it', [called(0, MODELS, 401), called(1, MODELS), called(2, RESPONSES)]],
  ])('is not reported as such where %s', (_what, events) => {
    expect(kinds(...events)).toEqual(['rejected_while_valid'])
  })
})

describe('a refused token that is sent again', () => {
  const row = [0, 1, 3, 7].map(at => called(at, RESPONSES, 401))

  it('three times and more in a row is reported with how long it took', () => {
    const [finding, ...others] = findings(...row)
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'same_token_retried', seen: { count: 4 } })
    expect(finding?.what).toContain('4 times within 7.1 s')
  })

  // Seen: 30 x 401 in a row of a call that an application wraps were no finding. Why: such a call does not show its token. Issue 24.
  it('is reported by its profile where the token is not known', () => {
    const wrapped = (at: number, profile: string) => attempt(at, 'auth', { httpStatus: 401, profile })
    const [finding, ...others] = findings(...[0, 1, 3, 7].map(at => wrapped(at, 'acme:me')))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'same_token_retried', confidence: 'likely', seen: { count: 4 } })
    expect(finding?.what).toContain('sent the access token of profile acme:me 4 times within 7.1 s, and got 401 each time')
    expect(kinds(...[0, 1, 3, 7].map(at => wrapped(at, 'unknown')))).toEqual([])
    expect(kinds(...[0, 1, 3, 7].map(at => wrapped(at, `acme:${at}`)))).toEqual([])
  })

  it.each<[string, GatewatchEvent[]]>([
    ['twice', row.slice(0, 2)],
    ['with a refresh in between', [...row.slice(0, 2), refresh(2, { reason: 'rejected' }), ...row.slice(2)]],
    ['with a good answer in between', [...row.slice(0, 2), called(2, RESPONSES), ...row.slice(2)]],
    ['minutes later', [0, 100, 200].map(at => called(at, RESPONSES, 401))],
    ['by calls that run side by side', [0, 0.01, 0.02].map(at => called(at, RESPONSES, 401))],
  ])('%s is no habit', (_what, events) => {
    expect(kinds(...events)).not.toContain('same_token_retried')
  })
})

// Seen: every call of a key was refused with 401 invalid_api_key, and diagnose had no finding of it. Issue 1, point E1.
describe('an API key that is refused', () => {
  const KEY = { profile: PAID, credentialType: 'api_key' } as const
  const INVALID = { ...KEY, httpStatus: 401, providerErrorCode: 'invalid_api_key' }

  it('is a finding that names the profile, since when, and the next step', () => {
    const [finding, ...others] = findings(attempt(0, 'ok', KEY), attempt(5, 'auth', INVALID), attempt(9, 'auth', INVALID))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'key_refused', confidence: 'certain', profiles: [PAID], seen: { count: 2 } })
    expect(finding?.what).toBe(
      '2 calls of profile openai:default refused with 401 invalid_api_key, the first one at 2026-10-01T12:00:05.000Z; no call of the profile has worked since.',
    )
    expect(finding?.remedy[0]).toMatch(/^Replace the key/)
  })

  it('is one beside other profiles that serve, and for a static token of the gateway', () => {
    const parent = call(0)
    const token = { ...INVALID, profile: 'acme:static', credentialType: 'token' } as const
    const events = [parent, { ...attempt(0, 'auth', token), parentSpanId: parent.spanId }, attempt(1, 'ok')]
    expect(findings(...events)).toMatchObject([
      { kind: 'key_refused', title: 'The provider refuses a static token', profiles: ['acme:static'] },
    ])
  })

  it.each<[string, GatewatchEvent[]]>([
    ['serves again', [attempt(0, 'auth', INVALID), attempt(1, 'ok', KEY)]],
    ['has reached its limit', [attempt(0, 'rate_limit', { ...INVALID, providerErrorCode: 'rate_limit_exceeded' })]],
    ['is of an account that is shut', [attempt(0, 'auth_permanent', { ...INVALID, providerErrorCode: 'account_deactivated' })]],
    ['is a login, which is refreshed', [attempt(0, 'auth', { ...INVALID, credentialType: 'oauth' })]],
    ['is a token of a watched application', [attempt(0, 'auth', { ...INVALID, credentialType: 'token' })]],
  ])('is none where it %s', (_what, events) => {
    expect(kinds(...events)).not.toContain('key_refused')
  })
})

describe('400 invalid_encrypted_content', () => {
  const broken = attempt(10, 'format', {
    httpStatus: 400,
    providerErrorCode: 'invalid_encrypted_content',
    caller: AGENT,
  })

  it('after a rotation, or after a change of profile, broke a running conversation', () => {
    const rotation = refresh(0, { sent: 't1', received: 't2' })
    expect(findings(rotation, broken, attempt(20, 'ok'))).toMatchObject([{ kind: 'session_broken_by_rotation', confidence: 'likely' }])
    const former = attempt(0, 'ok', { profile: PAID, caller: AGENT })
    expect(findings(former, broken)[0]?.what).toContain(`its caller had used profile ${PAID}`)
  })

  it('out of the blue is not explained by it', () => {
    expect(kinds(broken)).toEqual([])
  })
})

function rejected(at: number, credentialExpiresInS: number): AttemptEvent {
  return attempt(at, 'auth', { httpStatus: 401, credentialExpiresInS })
}
