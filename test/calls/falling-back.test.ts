import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPTS,
  ATTR_BILLING_CHANGED,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_LAST_RESORT,
  ATTR_PROFILE,
  ATTR_SKIP_REASON,
  EVENT_BILLING_CHANGED,
  EVENT_FALLBACK,
  EVENT_SKIPPED,
  SPAN_CALL,
} from '../../otel/semconv.ts'
import type { FaultName } from '../../src/simulator/fault.ts'
import { setClockAhead } from '../support/clock-ahead.ts'
import { codexLogin, eventually, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, storedKey } from '../support/gateway-world.ts'
import { answeredBy, CODEX_PATH, gatewatchHeaders, KEY, loginThenKey, ME } from './login-then-key.ts'

/** A port at which no server listens. */
async function deadUrl(): Promise<string> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

describe('a fallback', () => {
  it.each<[FaultName, string]>([
    ['throttled_429', 'rate_limit'],
    ['usage_limit_429', 'rate_limit'],
    ['insufficient_quota_429', 'billing'],
    ['payment_required_402', 'billing'],
    ['overloaded_529', 'overloaded'],
    ['unavailable_503', 'overloaded'],
    ['server_error_500', 'server_error'],
    ['model_not_found_404', 'model_not_found'],
    ['missing_scope_403', 'auth_permanent'],
    ['region_403', 'auth_permanent'],
    ['cloudflare_html_403', 'overloaded'],
  ])('follows %s, for %s', async (name, reason) => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name })
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=${reason}`)
    for (const counter of ['fallbacks', 'billingChanges'] as const)
      expect(await w.labels(counter)).toEqual([{ provider: 'openai-codex', from: ME, to: KEY, reason }])
    expect(w.simulator.counts().tokenRequests.total).toBe(0)
  })

  it('is an event of the call, which has not failed', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'throttled_429' })
    await w.responses()
    const [call] = w.spans(SPAN_CALL)
    expect(call).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPTS]: 2, [ATTR_PROFILE]: KEY, [ATTR_BILLING_CHANGED]: true } })
    expect(call?.events).toMatchObject([
      {
        name: EVENT_FALLBACK,
        attributes: {
          [ATTR_FALLBACK_FROM]: ME,
          [ATTR_FALLBACK_TO]: KEY,
          [ATTR_FALLBACK_REASON]: 'rate_limit',
        },
      },
      { name: EVENT_BILLING_CHANGED, attributes: { [ATTR_FALLBACK_FROM]: ME, [ATTR_FALLBACK_TO]: KEY } },
    ])
  })

  it('to a profile that pays alike changes no billing', async () => {
    const w = await gatewayWorld({
      stored: () => [storedKey('openai:a', 'sk-unknown-key-0000'), storedKey('openai:b', OPENAI_KEY)],
      order: ['openai:a', 'openai:b'],
    })
    const answer = await w.chat()
    expect(answer.status).toBe(200)
    expect(gatewatchHeaders(answer.headers)).toEqual({
      'x-gatewatch-provider': 'openai',
      'x-gatewatch-profile': 'openai:b',
      'x-gatewatch-billing': 'metered',
      'x-gatewatch-attempts': '2',
      'x-gatewatch-fallback': 'openai:a -> openai:b; reason=auth',
    })
    expect(await w.labels('fallbacks')).toMatchObject([{ reason: 'auth' }])
    expect(await w.labels('billingChanges')).toEqual([])
  })

  it('to a metered profile is denied where policy says so, and the call fails with both reasons', async () => {
    const w = await loginThenKey({ fallback: { metered: 'deny' } })
    w.simulator.inject({ where: CODEX_PATH, name: 'server_error_500' })
    const answer = await w.responses()
    expect(answeredBy(w, '/v1/responses')).toEqual({})
    expect(answer.status).toBe(500)
    expect(await w.series('fallbacks')).toEqual([])
    expect(w.spans(SPAN_CALL)[0]?.events).toMatchObject([
      { name: EVENT_SKIPPED, attributes: { [ATTR_PROFILE]: KEY, [ATTR_SKIP_REASON]: 'billing_denied' } },
    ])
    w.simulator.reset()
    const second = await w.responses()
    expect(second.json.error.message).toContain(`${KEY} (billing_denied)`)
  })

  it('goes past a provider that cannot be reached', async () => {
    const w = await loginThenKey({ providers: { 'openai-codex': { baseUrl: await deadUrl() } } })
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=server_error`)
  })

  it('goes past a provider that drops the connection before it answers', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, resetBeforeCommit: true })
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=server_error`)
  })

  it('goes past a provider that is silent for too long', async () => {
    const w = await loginThenKey({ upstream: { headersTimeoutMs: 1_000 } })
    w.simulator.inject({ where: CODEX_PATH, hang: true })
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=timeout`)
  })

  it('names every step of a long way', async () => {
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'a'), codexLogin(simulator, 'b'), codexLogin(simulator, 'c')],
      profiles: OPENAI_PROFILE,
      order: ['openai-codex:a', 'openai-codex:b', 'openai-codex:c', KEY],
    })
    w.simulator.inject({ where: CODEX_PATH, account: 'a', name: 'throttled_429' })
    w.simulator.inject({ where: CODEX_PATH, account: 'b', name: 'server_error_500' })
    w.simulator.inject({ where: CODEX_PATH, account: 'c', name: 'payment_required_402' })
    const answer = await w.responses()
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(
      'openai-codex:a -> openai-codex:b; reason=rate_limit, openai-codex:b -> openai-codex:c; reason=server_error, openai-codex:c -> openai:default; reason=billing',
    )
    expect((await w.labels('fallbacks')).map(({ reason }) => reason)).toEqual(['rate_limit', 'server_error', 'billing'])
    expect(await w.labels('billingChanges')).toEqual([
      { provider: 'openai-codex', from: 'openai-codex:a', to: 'openai:default', reason: 'rate_limit' },
    ])
  })

  it('does not follow a request the provider cannot read', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'bad_request_400' })
    const answer = await w.responses()
    expect(answer.status).toBe(400)
    expect(answer.json).toMatchObject({ error: { code: 'invalid_value', param: 'input' } })
    expect(answer.headers.get('x-gatewatch-profile')).toBe(ME)
    expect(answeredBy(w, '/v1/responses')).toEqual({})
    expect(await w.series('fallbacks')).toEqual([])
  })
})

describe('a profile that was throttled', () => {
  it('rests as long as the provider said, and others serve meanwhile', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, status: 429, headers: { 'retry-after': '1200' }, times: 1 })
    await w.responses()
    const [rested] = (await w.watch.profiles()).filter(({ profile }) => profile === ME)
    expect(rested).toMatchObject({ state: 'resting' })
    expect(rested?.restsForSeconds).toBeGreaterThan(1100)
    expect(rested?.restsForSeconds).toBeLessThanOrEqual(1200)
    const next = await w.responses()
    expect(next.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=cooldown`)
    expect(next.headers.get('x-gatewatch-attempts')).toBe('1')
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 429: 1 })
  })

  it('rests until the end of its limit when the provider names that', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'usage_limit_429', times: 1 })
    await w.responses()
    const [rested] = (await w.watch.profiles()).filter(({ profile }) => profile === ME)
    expect(rested?.restsForSeconds).toBeGreaterThan(3500)
  })

  it('tries all the same when there is no other caller, and is ready again once it serves', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', status: 429, times: 1 })
    expect((await w.chat()).status).toBe(429)
    expect(await w.watch.profiles()).toMatchObject([{ state: 'resting' }])
    setClockAhead(5_000)
    const served = await eventually(async () => {
      const answer = await w.chat()
      expect(answer.status).toBe(200)
      return answer
    })
    expect(served.headers.has('x-gatewatch-fallback')).toBe(false)
    expect(await w.watch.profiles()).toMatchObject([{ state: 'ready' }])
    expect(w.spans(SPAN_CALL).map(({ attributes }) => attributes[ATTR_LAST_RESORT])).toContain(true)
  })
})
