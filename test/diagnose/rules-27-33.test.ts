import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_TYPE,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_LAST_RESORT,
  ATTR_PROBE_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_SKIP_REASON,
  ATTR_TOKEN_REQUESTS,
  EVENT_SKIPPED,
  SPAN_CALL,
  SPAN_LOGIN,
  SPAN_PROBE,
} from '../../otel/semconv.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { PlainSpan } from '../../src/diagnose/evidence.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import { attempt, CLI, evidence, GATEWAY, type Refreshed, refresh, span, WORK } from './spans.ts'

const PAID = 'openai:default'

describe('calls that fail at every profile', () => {
  const failedCall = (at: number, outcomes: readonly string[], isLastResort: boolean) => {
    const call = span(SPAN_CALL, at, {
      status: 'error',
      attributes: { [ATTR_ERROR_TYPE]: 'GW_ALL_PROFILES_FAILED', ...(isLastResort && { [ATTR_LAST_RESORT]: true }) },
    })
    return [
      call,
      ...outcomes.map((outcome, index) => ({ ...attempt(at, outcome, { [ATTR_PROFILE]: `openai:${index}` }), parentSpanId: call.spanId })),
    ]
  }

  it('are reported once all profiles rest', () => {
    expect(kinds(...failedCall(0, ['rate_limit', 'auth'], false), ...failedCall(1, ['rate_limit', 'auth'], true))).toEqual([
      'all_profiles_resting',
    ])
  })

  it.each<[string, PlainSpan[]]>([
    ['they rest', failedCall(0, ['rate_limit', 'auth'], false)],
    ['there is more than one', failedCall(0, ['rate_limit'], true)],
    ['it is for them', failedCall(0, ['rate_limit', 'server_error'], true)],
  ])('are not reported as such unless %s', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('all_profiles_resting')
  })
})

// Seen: each call gets 503 since the only token has expired, and diagnose says "Nothing to report" and ends with 0. Why: no
// request fails, and every rule reads requests. Fix: calls that reach no provider are a finding. Issue 1, point E1.
describe('calls that reach no provider', () => {
  const passedOver = (at: number, reason: string) =>
    span(SPAN_CALL, at, {
      status: 'error',
      attributes: { [ATTR_ERROR_TYPE]: 'GW_NO_PROFILE' },
      events: [{ name: EVENT_SKIPPED, atMs: at, attributes: { [ATTR_PROFILE]: 'acme:static', [ATTR_SKIP_REASON]: reason } }],
    })

  it.each([
    ['expired', 'Replace the token'],
    ['missing_credential', 'Store a credential'],
    ['excluded_by_order', 'Add the profile to the order'],
    ['billing_denied', 'Allow the fallback'],
    ['mode_mismatch', 'Ask at an endpoint'],
  ])('are a finding when the profile is passed over as %s', (reason, remedy) => {
    const [finding] = diagnose(evidence(passedOver(0, reason), passedOver(1, reason))).findings
    expect(finding).toMatchObject({ kind: 'all_profiles_resting', title: 'No profile can serve a call', seen: { count: 2 } })
    expect(finding?.what).toContain(`acme:static: ${reason}`)
    expect(finding?.remedy[0]).toContain(remedy)
  })

  it('are none where a rest or a login is the reason, which other findings name, nor once a call is served', () => {
    expect(kinds(passedOver(0, 'cooldown'), passedOver(1, 'needs_login'))).toEqual([])
    const served = span(SPAN_CALL, 20, { status: 'ok', attributes: { [ATTR_PROFILE]: 'acme:static' } })
    expect(kinds(passedOver(0, 'expired'), served)).toEqual([])
  })
})

// Seen: every call of a key was refused with 401 invalid_api_key, and diagnose had no finding of it. Issue 1, point E1.
describe('an API key that is refused', () => {
  const KEY = { [ATTR_PROFILE]: PAID, [ATTR_CREDENTIAL_TYPE]: 'api_key' }
  const INVALID = { ...KEY, [ATTR_HTTP_STATUS]: 401, [ATTR_PROVIDER_ERROR_CODE]: 'invalid_api_key' }

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
    const call = span(SPAN_CALL, 0)
    const token = { ...INVALID, [ATTR_PROFILE]: 'acme:static', [ATTR_CREDENTIAL_TYPE]: 'token' }
    const spans = [call, { ...attempt(0, 'auth', token), parentSpanId: call.spanId }, attempt(1, 'ok')]
    expect(findings(...spans)).toMatchObject([
      { kind: 'key_refused', title: 'The provider refuses a static token', profiles: ['acme:static'] },
    ])
  })

  it.each<[string, PlainSpan[]]>([
    ['serves again', [attempt(0, 'auth', INVALID), attempt(1, 'ok', KEY)]],
    ['has reached its limit', [attempt(0, 'rate_limit', { ...INVALID, [ATTR_PROVIDER_ERROR_CODE]: 'rate_limit_exceeded' })]],
    ['is of an account that is shut', [attempt(0, 'auth_permanent', { ...INVALID, [ATTR_PROVIDER_ERROR_CODE]: 'account_deactivated' })]],
    ['is a login, which is refreshed', [attempt(0, 'auth', { ...INVALID, [ATTR_CREDENTIAL_TYPE]: 'oauth' })]],
    ['is a token of a watched application', [attempt(0, 'auth', { ...INVALID, [ATTR_CREDENTIAL_TYPE]: 'token' })]],
  ])('is none where it %s', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('key_refused')
  })
})

describe('a good probe', () => {
  const probe = (at: number, process = CLI, token = 'aaaaaaaaaaaa') => {
    const probing = span(SPAN_PROBE, at, { process, attributes: { [ATTR_PROFILE]: WORK, [ATTR_PROBE_OUTCOME]: 'ok' } })
    const call = span(SPAN_CALL, at, { process, parentSpanId: probing.spanId })
    return [probing, call, { ...attempt(at, 'ok', { [ATTR_CREDENTIAL_FINGERPRINT]: token }), process, parentSpanId: call.spanId }]
  }
  const rejected = (at: number, token = 'bbbbbbbbbbbb') => ({
    ...attempt(at, 'auth', { [ATTR_CREDENTIAL_FINGERPRINT]: token }),
    process: GATEWAY,
  })

  it('in another process, after which calls fail with another token, reads another store', () => {
    const [finding] = findings(rejected(0), ...probe(1), rejected(2))
    expect(finding).toMatchObject({ kind: 'probe_disagrees', severity: 'divergence', confidence: 'certain', seen: { count: 3 } })
    expect(finding?.what).toContain('aaaaaaaaaaaa and bbbbbbbbbbbb')
  })

  it('in the same process with the same token, after which calls fail, says that not the login makes the difference', () => {
    const [finding] = findings(...probe(1, GATEWAY, 'bbbbbbbbbbbb'), rejected(2))
    expect(finding).toMatchObject({ kind: 'probe_disagrees', severity: 'divergence', confidence: 'certain' })
    expect(finding?.title).toContain('with the very same token')
    expect(finding?.remedy.join()).toContain('Do not sign in again')
  })

  it.each<[string, PlainSpan[]]>([
    ['calls failed before it only: they may have been mended', [rejected(0), ...probe(1)]],
    ['calls work again', [rejected(0), ...probe(1), rejected(2), { ...attempt(3, 'ok'), process: GATEWAY }]],
    ['an hour lies between them', [...probe(0), rejected(3_600)]],
    ['the same process has another token since: it was rotated in between', [...probe(1, GATEWAY), rejected(2)]],
  ])('is not contradicted where %s', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('probe_disagrees')
  })
})

describe('rotations that no model call waits for', () => {
  const polled = (at: number, reason = 'forced') => [
    refresh(at, { reason, sent: `s${at}`, received: `r${at}` }),
    { ...attempt(at + 1, 'ok'), name: 'GET' },
  ]
  const times = (count: number, reason?: string) => Array.from({ length: count }, (_, index) => polled(index * 10, reason)).flat()

  it('by a poller are told, as a storm when they are forced', () => {
    expect(findings(...times(5))).toMatchObject([
      { kind: 'poller_refreshes', severity: 'storm', explains: [{ kind: 'forced_refresh_storm' }] },
    ])
    expect(findings(...times(5, 'expired'))).toMatchObject([{ kind: 'poller_refreshes', severity: 'warning' }])
  })

  it.each<[string, PlainSpan[]]>([
    ['are three', times(3)],
    ['are meant to be made', times(8, 'scheduled')],
    [
      'have a model call between them',
      Array.from({ length: 8 }, (_, index) => [...polled(index * 10), attempt(index * 10 + 2, 'ok')]).flat(),
    ],
    ['have nothing between them', Array.from({ length: 8 }, (_, index) => refresh(index * 10, { reason: 'expired' }))],
  ])('are no poller where they %s', (_what, spans) => {
    expect(kinds(...spans)).not.toContain('poller_refreshes')
  })
})

describe('400 invalid_encrypted_content', () => {
  const broken = attempt(10, 'format', {
    [ATTR_HTTP_STATUS]: 400,
    [ATTR_PROVIDER_ERROR_CODE]: 'invalid_encrypted_content',
    [ATTR_CALLER]: 'src/agent.ts#answer',
  })

  it('after a rotation, or after a change of profile, broke a running conversation', () => {
    const rotation = refresh(0, { sent: 't1', received: 't2' })
    expect(findings(rotation, broken, attempt(20, 'ok'))).toMatchObject([{ kind: 'session_broken_by_rotation', confidence: 'likely' }])
    const former = attempt(0, 'ok', { [ATTR_PROFILE]: PAID, [ATTR_CALLER]: 'src/agent.ts#answer' })
    expect(findings(former, broken)[0]?.what).toContain(`its caller had used profile ${PAID}`)
  })

  it('out of the blue is not explained by it', () => {
    expect(kinds(broken)).toEqual([])
  })
})

describe('a missing scope', () => {
  it('is told at the API and at the page where a user signs in', () => {
    const refused = attempt(0, 'auth_permanent', { [ATTR_HTTP_STATUS]: 403, [ATTR_PROVIDER_ERROR_CODE]: 'missing_scope' })
    const page = span(SPAN_LOGIN, 1, {
      status: 'error',
      attributes: { [ATTR_PROVIDER]: 'openai-codex', [ATTR_PROFILE]: WORK, [ATTR_PROVIDER_ERROR_CODE]: 'invalid_scope' },
    })
    expect(findings(refused, page)).toMatchObject([
      { kind: 'scope_missing', seen: { count: 2 }, what: expect.stringContaining('missing_scope, invalid_scope') },
    ])
  })
})

describe('refreshes that wait and send nothing', () => {
  const waited = (at: number, durationMs = 120_000) => ({
    ...failed(at, 'unavailable', { more: { [ATTR_TOKEN_REQUESTS]: 0, [ATTR_ERROR_TYPE]: 'ClaimPendingError' } }),
    durationMs,
  })

  it('one after the other watch a claim that nobody settles', () => {
    const [finding] = findings(refresh(0, { sent: 't1', received: 't2' }), waited(10), waited(150), waited(300))
    expect(finding).toMatchObject({
      kind: 'claim_orphaned',
      severity: 'storm',
      seen: { count: 3 },
      explains: [{ kind: 'refresh_failing' }],
    })
    expect(finding?.what).toContain('3 refreshes waited 120.0 s and gave up (ClaimPendingError)')
  })

  it.each<[string, PlainSpan[]]>([
    ['fail at once', [waited(0, 1), waited(1, 1), waited(2, 1)]],
    ['are two', [waited(0), waited(150)]],
    ['were before one that worked', [waited(0), waited(150), waited(300), refresh(500, { sent: 't1', received: 't2' })]],
  ])('are reported as failing where they %s', (_what, spans) => {
    expect(kinds(...spans)).toEqual(['refresh_failing'])
  })
})

function failed(at: number, outcome: string, { permanent = false, ...rest }: Refreshed = {}): PlainSpan {
  return refresh(at, { outcome, permanent, ...rest })
}

function findings(...spans: readonly PlainSpan[]): readonly Finding[] {
  return diagnose(evidence(...spans)).findings
}

function kinds(...spans: readonly PlainSpan[]): string[] {
  return findings(...spans).map(({ kind }) => kind)
}
