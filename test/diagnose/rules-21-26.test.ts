import { describe, expect, it } from 'vitest'
import {
  ATTR_ACCOUNT_AFTER,
  ATTR_ACCOUNT_BEFORE,
  ATTR_ANSWER_TYPE,
  ATTR_BILLING,
  ATTR_BILLING_CHANGED,
  ATTR_CREDENTIAL_TYPE,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REFRESH_RETAINED,
  ATTR_REQUEST_FIELDS,
  ATTR_REQUEST_USER_AGENT,
  ATTR_RETRY_AFTER,
  EVENT_FALLBACK,
  SPAN_CALL,
} from '../../otel/semconv.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import type { PlainSpan } from '../../src/diagnose/evidence.ts'
import { evidenceIn } from '../../src/diagnose/evidence-source.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import { playScenario } from '../../src/simulator/scenarios/harness.ts'
import { stateFolder } from '../support/clean-up.ts'
import { attempt, CLI, evidence, GATEWAY, type Refreshed, refresh, span, WORK } from './spans.ts'

const PAID = 'openai:default'

describe('an answer without a refresh token', () => {
  const retained = refresh(0, { sent: 't1', outcome: 'renewed', process: CLI, more: { [ATTR_REFRESH_RETAINED]: true } })
  const empty = (at: number, process = CLI) =>
    failed(at, 'malformed', {
      permanent: true,
      process,
      more: { [ATTR_REQUEST_FIELDS]: 'grant_type=refresh_token refresh_token=literal:undefined' },
    })

  it('is how some providers refresh, and nothing to tell', () => {
    expect(kinds(retained, refresh(60, { sent: 't1', outcome: 'renewed', process: CLI, more: { [ATTR_REFRESH_RETAINED]: true } }))).toEqual(
      [],
    )
  })

  it('after which the same process sends none has had it thrown away', () => {
    const [finding, ...others] = findings(retained, empty(60), empty(61))
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'refresh_token_retained', confidence: 'certain', seen: { count: 3 } })
    expect(verdicts(finding)).toEqual({ token_rejected: 'excluded', request_shape: 'supported' })
  })

  it('has nothing to do with another process that sends none', () => {
    expect(kinds(retained, empty(60, GATEWAY))).toEqual(['undefined_token_sent'])
  })

  it('after which the old token is refused is reported as that', () => {
    const refused = failed(60, 'invalidated', { sent: 't1', permanent: true, process: CLI })
    expect(findings(retained, refused)).toMatchObject([
      { kind: 'refresh_token_retained', confidence: 'likely', surerBy: expect.any(String) },
    ])
    expect(kinds(retained, refresh(30, { sent: 't1', received: 't2', process: GATEWAY }), refused)).toEqual(['rotated_token_replayed'])
  })
})

describe('an answer of another account', () => {
  it('that a watched application took is reported as a divergence, that the gate refused as a dead login', () => {
    const accounts = { [ATTR_ACCOUNT_BEFORE]: 'aaaaaaaaaaaa', [ATTR_ACCOUNT_AFTER]: 'bbbbbbbbbbbb' }
    const taken = refresh(0, { sent: 't1', received: 't2', via: 'undeclared', more: accounts })
    expect(findings(taken)).toMatchObject([
      { kind: 'identity_mismatch', severity: 'divergence', what: expect.stringContaining('aaaaaaaaaaaa to bbbbbbbbbbbb') },
    ])
    const refused = failed(0, 'identity_mismatch', { permanent: true, more: accounts })
    expect(findings(refused)).toMatchObject([{ kind: 'identity_mismatch', severity: 'grant_dead' }])
  })

  it('is seen in a program that is only watched', async () => {
    const state = stateFolder()
    const other = { do: 'fault', fault: { where: 'token', switchAccountTo: 'acc-other' } } as const
    await playScenario({ steps: [other, { do: 'client', name: 'agent', acts: [{ act: 'call' }, { act: 'refresh' }] }] }, state)
    expect(diagnose(evidenceIn(state)).findings).toMatchObject([
      { kind: 'identity_mismatch', what: expect.stringMatching(/from account [0-9a-f]{12} to [0-9a-f]{12}/) },
    ])
  })
})

describe('a token endpoint that fails', () => {
  const down = (at: number, status: number, more: PlainSpan['attributes'] = {}) =>
    failed(at, status === 429 ? 'throttled' : 'unavailable', { more: { [ATTR_HTTP_STATUS]: status, ...more } })

  it('with 503 and 429 is down, says for how long it asked to wait, and since when it works again', () => {
    const [finding, ...others] = findings(
      down(0, 503),
      down(1, 429, { [ATTR_RETRY_AFTER]: 7 }),
      attempt(2, 'ok'),
      refresh(9, { sent: 't1', received: 't2' }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'token_endpoint_unavailable', severity: 'warning', confidence: 'certain' })
    expect(finding?.what).toMatch(/503 \(1\), 429 \(1\), asked to wait up to 7 s; it works again since .* 1 call went through/)
  })

  it('with a page for browsers is a firewall, unless the page is of a proxy that cannot reach it', () => {
    const html = { [ATTR_ANSWER_TYPE]: 'text/html; charset=UTF-8' }
    expect(kinds(failed(0, 'forbidden', { more: { [ATTR_HTTP_STATUS]: 403, ...html } }), down(1, 429, html))).toEqual(['firewall_page'])
    expect(kinds(down(0, 502, html))).toEqual(['token_endpoint_unavailable'])
    expect(kinds(failed(0, 'forbidden', { more: { [ATTR_HTTP_STATUS]: 403, [ATTR_ANSWER_TYPE]: 'application/json' } }))).toEqual([
      'refresh_failing',
    ])
  })

  it('for the region of the request is reported with whether calls go another way', () => {
    const refused = failed(0, 'forbidden', {
      more: { [ATTR_HTTP_STATUS]: 403, [ATTR_PROVIDER_ERROR_CODE]: 'unsupported_country_region_territory' },
    })
    expect(findings(refused, attempt(1, 'ok'))[0]?.title).toContain('different ways')
    expect(findings(refused)[0]).toMatchObject({ kind: 'region_refused', what: expect.stringContaining('no call went through') })
  })
})

describe('429 of a token endpoint without Retry-After', () => {
  const [OURS, THEIRS] = ['aaaaaaaaaaaa', 'bbbbbbbbbbbb']
  const throttled = (at: number, agent = OURS, more: PlainSpan['attributes'] = {}) =>
    failed(at, 'throttled', { more: { [ATTR_HTTP_STATUS]: 429, [ATTR_REQUEST_USER_AGENT]: agent, ...more } })
  const served = (at: number, agent: string) =>
    refresh(at, {
      sent: `s${at}`,
      received: `r${at}`,
      profile: 'openai-codex:other',
      more: { [ATTR_HTTP_STATUS]: 200, [ATTR_REQUEST_USER_AGENT]: agent },
    })

  it('is for the User-Agent where another one is served', () => {
    const [finding] = findings(throttled(0), served(10, THEIRS), throttled(20))
    expect(finding).toMatchObject({
      kind: 'refused_by_user_agent',
      confidence: 'likely',
      explains: [{ kind: 'token_endpoint_unavailable' }, { kind: 'refresh_failing' }],
    })
  })

  it('is possibly so where it is for ever while calls go through', () => {
    expect(findings(throttled(0), attempt(5, 'ok'), throttled(60), throttled(120))).toMatchObject([
      { kind: 'refused_by_user_agent', confidence: 'possible' },
    ])
  })

  it.each<[string, PlainSpan[]]>([
    ['once', [throttled(0), attempt(5, 'ok')]],
    ['where the same User-Agent is served as well', [throttled(0), served(10, THEIRS), served(20, OURS), throttled(30)]],
    ['where it says how long to wait', [throttled(0, OURS, { [ATTR_RETRY_AFTER]: 5 }), served(10, THEIRS)]],
    ['where nothing of the provider goes through', [throttled(0), throttled(60), throttled(120)]],
  ])('is a throttle %s', (_what, spans) => {
    expect(kinds(...spans)).toEqual(['token_endpoint_unavailable'])
  })
})

describe('a fallback to a paid key', () => {
  const paid = (at: number, more: PlainSpan['attributes'] = {}) =>
    span(SPAN_CALL, at, {
      attributes: { [ATTR_PROVIDER]: 'openai', [ATTR_PROFILE]: PAID, [ATTR_BILLING]: 'metered', [ATTR_BILLING_CHANGED]: true, ...more },
      events: [{ name: EVENT_FALLBACK, atMs: 0, attributes: { [ATTR_FALLBACK_FROM]: WORK, [ATTR_FALLBACK_REASON]: 'rate_limit' } }],
    })

  it('is reported with what it was for, and with when it ended', () => {
    const back = span(SPAN_CALL, 60, {
      attributes: { [ATTR_PROVIDER]: 'openai-codex', [ATTR_PROFILE]: WORK, [ATTR_BILLING]: 'subscription' },
    })
    const [finding] = findings(paid(0), paid(1), back)
    expect(finding).toMatchObject({ kind: 'silent_paid_fallback', severity: 'money_spent', seen: { count: 2 } })
    expect(finding?.what).toContain(`2 calls meant for ${WORK} went to ${PAID}, which is paid by use (rate_limit 2)`)
    expect(finding?.what).toContain('the subscription serves again')
  })

  it('that failed as well, or that was meant to be paid, costs nothing that was not meant', () => {
    expect(kinds(paid(0, { [ATTR_BILLING_CHANGED]: false }), { ...paid(1), status: 'error' })).toEqual([])
  })

  it('of a program that is only watched is shown by what its calls carry', async () => {
    const state = stateFolder()
    const dead = { do: 'fault', fault: { where: 'token', name: 'refresh_token_expired' } } as const
    const acts = [{ act: 'call' }, { act: 'refresh' }, { act: 'paid_call', times: 2 }] as const
    await playScenario({ setting: { logins: [{ ageMs: 3_600_000 }] }, steps: [dead, { do: 'client', name: 'agent', acts }] }, state)
    const [cause, finding, ...others] = diagnose(evidenceIn(state)).findings
    expect(others).toEqual([])
    expect(cause).toMatchObject({ kind: 'grant_expired', severity: 'grant_dead' })
    expect(finding).toMatchObject({ kind: 'silent_paid_fallback', severity: 'money_spent', confidence: 'likely' })
    expect(finding?.what).toMatch(/2 calls since then went to openai with an API key, none with the login/)
  })

  it('is none where a process uses login and key side by side, or never had a login', () => {
    const [login, key] = [{ [ATTR_CREDENTIAL_TYPE]: 'token' }, { [ATTR_CREDENTIAL_TYPE]: 'api_key', [ATTR_PROVIDER]: 'openai' }]
    const at = (seconds: number, more: PlainSpan['attributes']) => ({ ...attempt(seconds, 'ok', more), process: GATEWAY })
    const dead = failed(1, 'invalidated', { permanent: true, process: GATEWAY })
    for (const spans of [
      [at(0, login), dead, at(2, key), at(3, login)],
      [dead, at(2, key)],
      [at(0, login), at(2, key)],
    ])
      expect(kinds(...spans)).not.toContain('silent_paid_fallback')
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

function verdicts(finding: Finding | undefined): Record<string, string> {
  return Object.fromEntries((finding?.hypotheses ?? []).map(({ hypothesis, verdict }) => [hypothesis, verdict]))
}
