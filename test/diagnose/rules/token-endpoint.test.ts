import { describe, expect, it } from 'vitest'
import type { GatewatchEvent } from '../../../src/domain/events.ts'
import { attempt, event, failed, findings, kinds, type RefreshFields, refresh, WORK } from '../events.ts'

describe('a token endpoint that fails', () => {
  const down = (at: number, status: number, fields: RefreshFields = {}) =>
    failed(at, status === 429 ? 'throttled' : 'unavailable', { httpStatus: status, ...fields })

  it('with 503 and 429 is down, says for how long it asked to wait, and since when it works again', () => {
    const [finding, ...others] = findings(
      down(0, 503),
      down(1, 429, { retryAfterS: 7 }),
      attempt(2, 'ok'),
      refresh(9, { sent: 't1', received: 't2' }),
    )
    expect(others).toEqual([])
    expect(finding).toMatchObject({ kind: 'token_endpoint_unavailable', severity: 'warning', confidence: 'certain' })
    expect(finding?.what).toMatch(/503 \(1\), 429 \(1\), asked to wait up to 7 s; it works again since .* 1 call went through/)
  })

  it('with a page for browsers is a firewall, unless the page is of a proxy that cannot reach it', () => {
    const html = { answerType: 'text/html; charset=UTF-8' }
    expect(kinds(failed(0, 'forbidden', { httpStatus: 403, ...html }), down(1, 429, html))).toEqual(['firewall_page'])
    expect(kinds(down(0, 502, html))).toEqual(['token_endpoint_unavailable'])
    expect(kinds(failed(0, 'forbidden', { httpStatus: 403, answerType: 'application/json' }))).toEqual(['refresh_failing'])
  })

  it('for the region of the request is reported with whether calls go another way', () => {
    const refused = failed(0, 'forbidden', {
      httpStatus: 403,
      providerErrorCode: 'unsupported_country_region_territory',
    })
    expect(findings(refused, attempt(1, 'ok'))[0]?.title).toContain('different routes')
    expect(findings(refused)[0]).toMatchObject({ kind: 'region_refused', what: expect.stringContaining('no call went through') })
  })
})

describe('429 of a token endpoint without Retry-After', () => {
  const [OURS, THEIRS] = ['aaaaaaaaaaaa', 'bbbbbbbbbbbb']
  const throttled = (at: number, agent = OURS, fields: RefreshFields = {}) =>
    failed(at, 'throttled', { httpStatus: 429, requestUserAgentFingerprint: agent, ...fields })
  const served = (at: number, agent: string) =>
    refresh(at, {
      sent: `s${at}`,
      received: `r${at}`,
      profile: 'openai-codex:other',
      httpStatus: 200,
      requestUserAgentFingerprint: agent,
    })

  it('is for the User-Agent where another one is served', () => {
    const [finding] = findings(throttled(0), served(10, THEIRS), throttled(20))
    expect(finding).toMatchObject({
      kind: 'refused_by_user_agent',
      confidence: 'likely',
      explains: [{ kind: 'token_endpoint_unavailable' }, { kind: 'refresh_failing' }],
    })
  })

  // Seen: a throttled refresh has no error where its caller had a good token, and the rule asked for one.
  it('is named where the callers had good tokens', () => {
    const harmless = (at: number) => ({ ...throttled(at), isError: false })
    expect(kinds(harmless(0), attempt(5, 'ok'), harmless(60), harmless(120))).toEqual(['refused_by_user_agent'])
    expect(kinds(harmless(0))).toEqual(['token_endpoint_unavailable'])
  })

  it('is possibly so where it is for ever while calls go through', () => {
    expect(findings(throttled(0), attempt(5, 'ok'), throttled(60), throttled(120))).toMatchObject([
      { kind: 'refused_by_user_agent', confidence: 'possible' },
    ])
  })

  it.each<[string, GatewatchEvent[]]>([
    ['once', [throttled(0), attempt(5, 'ok')]],
    ['where the same User-Agent is served as well', [throttled(0), served(10, THEIRS), served(20, OURS), throttled(30)]],
    ['where it says how long to wait', [throttled(0, OURS, { retryAfterS: 5 }), served(10, THEIRS)]],
    ['where nothing of the provider goes through', [throttled(0), throttled(60), throttled(120)]],
  ])('is a throttle %s', (_what, events) => {
    expect(kinds(...events)).toEqual(['token_endpoint_unavailable'])
  })
})

describe('a missing scope', () => {
  it('is reported at the API and at the page where a user signs in', () => {
    const refused = attempt(0, 'auth_permanent', { httpStatus: 403, providerErrorCode: 'missing_scope' })
    const page = event('login', 1, {
      isError: true,
      provider: 'openai-codex',
      profile: WORK,
      providerErrorCode: 'invalid_scope',
    })
    expect(findings(refused, page)).toMatchObject([
      { kind: 'scope_missing', seen: { count: 2 }, what: expect.stringContaining('missing_scope, invalid_scope') },
    ])
  })
})
