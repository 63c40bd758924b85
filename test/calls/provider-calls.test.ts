import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  ATTR_ATTEMPTS,
  ATTR_BILLING_CHANGED,
  ATTR_DECISION,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_PROFILE,
  ATTR_REASON,
  ATTR_SKIP_REASON,
  EVENT_FALLBACK,
  EVENT_SKIPPED,
  SPAN_CALL,
  SPAN_REFRESH,
  SPAN_VISIT,
} from '../../otel/names.ts'
import type { FaultName } from '../../src/simulator/named-faults.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { codexLogin, eventually, type GatewayWorld, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, storedKey } from '../support/gateway-world.ts'

const ME = 'openai-codex:me'
const KEY = 'openai:default'
const CODEX_PATH = '/backend-api/codex/responses'

/** A login in front of an API key: what goes wrong with the first shows in the second. */
function loginThenKey(options: Parameters<typeof gatewayWorld>[0] = {}, life: { firstAccessLifeMs?: number } = {}) {
  return gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', life)], profiles: OPENAI_PROFILE, ...options })
}

function gatewatchHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => name.startsWith('x-gatewatch-') && name !== 'x-gatewatch-trace'))
}

function answeredBy(w: GatewayWorld, path: string) {
  return w.simulator.counts().providerCalls.byPath[path] ?? {}
}

/** A port at which nobody listens. */
async function deadUrl(): Promise<string> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

describe('a call', () => {
  it('is served by the preferred profile, and says so', async () => {
    const w = await loginThenKey()
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ object: 'response', status: 'completed' })
    expect(gatewatchHeaders(answer.headers)).toEqual({
      'x-gatewatch-provider': 'openai-codex',
      'x-gatewatch-profile': ME,
      'x-gatewatch-billing': 'subscription',
      'x-gatewatch-attempts': '1',
    })
    expect(w.simulator.counts()).toMatchObject({ tokenRequests: { total: 0 }, providerCalls: { total: 1 } })
    expect(await w.series('fallbacks')).toEqual([])
  })

  it('goes to each profile in turn', async () => {
    const w = await gatewayWorld({ stored: () => ['a', 'b', 'c'].map(name => storedKey(`openai:${name}`, OPENAI_KEY)) })
    const served: (string | null)[] = []
    for (let call = 0; call < 6; call += 1) served.push((await w.chat()).headers.get('x-gatewatch-profile'))
    expect(served).toEqual(['openai:a', 'openai:b', 'openai:c', 'openai:a', 'openai:b', 'openai:c'])
  })

  it('finds a profile that is added while the gateway runs', async () => {
    const store = memoryStore()
    const w = await gatewayWorld({ store })
    expect((await w.chat()).status).toBe(503)
    await store.change(KEY, () => storedKey(KEY, OPENAI_KEY))
    await eventually(async () => expect((await w.chat()).status).toBe(200))
  })

  it('is not disturbed by a profile that another process stores for a provider of its own', async () => {
    const store = memoryStore([storedKey(KEY, OPENAI_KEY)])
    const w = await gatewayWorld({ store })
    await store.change('corp:default', () => storedKey('corp:default', 'sk-corp'))
    await eventually(async () => expect(await w.watch.profiles()).toHaveLength(2))
    expect((await w.chat()).status).toBe(200)
  })
})

describe('a login that is not fresh', () => {
  it('is refreshed first, once for all calls that come together', async () => {
    const w = await loginThenKey({}, { firstAccessLifeMs: -1000 })
    const answers = await Promise.all(Array.from({ length: 20 }, () => w.responses()))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(new Set(answers.map(({ headers }) => headers.get('x-gatewatch-profile')))).toEqual(new Set([ME]))
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
    // Calls that come a moment later find the fresh token and need no visit.
    const reasons = w.spans(SPAN_VISIT).map(({ attributes }) => attributes[ATTR_REASON])
    expect(new Set(reasons)).toEqual(new Set(['expired']))
    expect(w.spans(SPAN_REFRESH)).toHaveLength(1)
  })

  it('is refreshed once when the provider rejects it, and the call is made once more', async () => {
    const w = await loginThenKey()
    w.simulator.expireAccess('me')
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(gatewatchHeaders(answer.headers)).toMatchObject({ 'x-gatewatch-profile': ME, 'x-gatewatch-attempts': '2' })
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 401: 1, 200: 1 })
    expect(w.simulator.counts().tokenRequests).toMatchObject({ total: 1, byOutcome: { rotated: 1 } })
    const [visit] = w.spans(SPAN_VISIT)
    expect(visit?.attributes).toMatchObject({ [ATTR_REASON]: 'rejected', [ATTR_DECISION]: 'lead' })
  })

  it('is not refreshed twice for one call: a second rejection goes to the next profile', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'token_expired_401' })
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(gatewatchHeaders(answer.headers)).toEqual({
      'x-gatewatch-provider': 'openai',
      'x-gatewatch-profile': KEY,
      'x-gatewatch-billing': 'metered',
      'x-gatewatch-attempts': '3',
      'x-gatewatch-fallback': `${ME} -> ${KEY}; reason=auth`,
      'x-gatewatch-billing-changed': 'subscription -> metered',
    })
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 401: 2 })
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
  })

  it('is refreshed by compare: calls that were rejected with the old token take the new one', async () => {
    const w = await loginThenKey()
    w.simulator.expireAccess('me')
    const answers = await Promise.all(Array.from({ length: 20 }, () => w.responses()))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
    expect(answeredBy(w, '/v1/responses')).toEqual({})
  })

  it('whose rejection cannot be mended goes to the next profile, and needs a login from then on', async () => {
    const w = await loginThenKey()
    w.simulator.expireAccess('me')
    w.simulator.expireGrant('me')
    const first = await w.responses()
    expect(first.status).toBe(200)
    expect(first.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=auth`)
    await eventually(async () => {
      const later = await w.responses()
      expect(later.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=needs_login`)
    })
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 401: 1 })
    expect(w.simulator.counts().tokenRequests.total).toBe(1)
    expect(await w.watch.profiles()).toContainEqual(expect.objectContaining({ profile: ME, state: 'needs_login' }))
  })

  it.each<[string, (simulator: Simulator) => unknown, string]>([
    ['is dead', simulator => simulator.expireGrant('me'), 'needs_login'],
    ['cannot be refreshed for now', simulator => simulator.inject({ where: 'token', name: 'unavailable_503' }), 'unavailable'],
    ['is refused by a wall', simulator => simulator.inject({ where: 'token', name: 'cloudflare_html_403' }), 'unavailable'],
    ['gets no answer', simulator => simulator.inject({ where: 'token', resetBeforeCommit: true }), 'unavailable'],
  ])('and %s leaves the call to the next profile, with the reason', async (_what, breakIt, reason) => {
    const w = await loginThenKey({}, { firstAccessLifeMs: -1000 })
    breakIt(w.simulator)
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=${reason}`)
    expect(answer.headers.get('x-gatewatch-attempts')).toBe('1')
    expect(await w.labels('fallbacks')).toEqual([{ provider: 'openai-codex', from: ME, to: KEY, reason, billing_changed: 'true' }])
    expect(answeredBy(w, CODEX_PATH)).toEqual({})
  })
})

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
    expect(await w.labels('fallbacks')).toEqual([{ provider: 'openai-codex', from: ME, to: KEY, reason, billing_changed: 'true' }])
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
          [ATTR_BILLING_CHANGED]: true,
        },
      },
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
    expect(await w.labels('fallbacks')).toMatchObject([{ reason: 'auth', billing_changed: 'false' }])
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
    const w = await loginThenKey({ upstream: { headersTimeoutMs: 100 } })
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
    expect((await w.labels('fallbacks')).map(({ reason, billing_changed }) => [reason, billing_changed])).toEqual([
      ['rate_limit', 'false'],
      ['server_error', 'false'],
      ['billing', 'true'],
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

  it('tries all the same when there is nobody else, and is ready again once it serves', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'throttled_429', times: 1 })
    expect((await w.chat()).status).toBe(429)
    expect(await w.watch.profiles()).toMatchObject([{ state: 'resting' }])
    const second = await w.chat()
    expect(second.status).toBe(200)
    expect(second.headers.has('x-gatewatch-fallback')).toBe(false)
    expect(await w.watch.profiles()).toMatchObject([{ state: 'ready' }])
  })
})

describe('when no profile serves', () => {
  it('the answer says of each profile why not', async () => {
    const w = await gatewayWorld({
      stored: simulator => [
        codexLogin(simulator, 'dead', { firstAccessLifeMs: -1000 }),
        { id: 'openai-codex:empty', provider: 'openai-codex', credential: { type: 'oauth', generation: 0 } },
        { id: 'openai-codex:old', provider: 'openai-codex', credential: { type: 'token', token: 'tok', expiresAt: 1 } },
      ],
    })
    w.simulator.expireGrant('dead')
    const answer = await w.responses()
    expect(answer.status).toBe(502)
    expect(answer.json.error).toMatchObject({ type: 'gatewatch_error', code: 'GW_ALL_PROFILES_FAILED', next: 'try_again_later' })
    expect(answer.json.error.message).toBe(
      'no profile could serve responses of model gpt-5.5: openai-codex:empty (missing_credential), openai-codex:old (expired), openai-codex:dead (needs_login)',
    )
    await eventually(async () => {
      const again = await w.responses()
      expect(again.status).toBe(503)
      expect(again.json.error).toMatchObject({ code: 'GW_NO_PROFILE', next: 'add_profile' })
    })
  })

  it('because none speaks the language, the answer says so', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const answer = await w.post('/v1/messages', { model: 'claude-sonnet-5', max_tokens: 5, messages: [] })
    expect(answer.status).toBe(503)
    expect(answer.json).toEqual({
      type: 'error',
      error: {
        type: 'api_error',
        message: 'GW_NO_PROFILE: no profile could serve messages of model claude-sonnet-5: no profile is configured for it',
      },
    })
  })

  it('the call’s span is an error of that type', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'invalid_api_key_401' })
    await w.chat()
    expect(w.spans(SPAN_CALL)).toMatchObject([
      { status: 'error', attributes: { 'error.type': 'GW_ALL_PROFILES_FAILED', [ATTR_ATTEMPTS]: 1 } },
    ])
  })
})
