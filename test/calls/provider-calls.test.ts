import { describe, expect, it } from 'vitest'
import { ATTR_ATTEMPTS, ATTR_DECISION, ATTR_REASON, SPAN_ACQUIRE, SPAN_CALL, SPAN_REFRESH } from '../../otel/semconv.ts'
import { profileNote } from '../../src/calls/profile-note.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { LISTED_MS, setClockAhead } from '../support/clock-ahead.ts'
import { codexLogin, eventually, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, storedKey } from '../support/gateway-world.ts'
import { answeredBy, CODEX_PATH, gatewatchHeaders, KEY, loginThenKey, ME } from './login-then-key.ts'

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
    setClockAhead(LISTED_MS)
    await eventually(async () => expect((await w.chat()).status).toBe(200))
  })

  it('is not disturbed by a profile that another process stores for a provider of its own', async () => {
    const store = memoryStore([storedKey(KEY, OPENAI_KEY)])
    const w = await gatewayWorld({ store })
    await store.change('corp:default', () => storedKey('corp:default', 'sk-corp'))
    setClockAhead(LISTED_MS)
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
    // Calls that come a moment later find the fresh token and need no acquisition.
    const reasons = w.spans(SPAN_ACQUIRE).map(({ attributes }) => attributes[ATTR_REASON])
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
    const [acquisition] = w.spans(SPAN_ACQUIRE)
    expect(acquisition?.attributes).toMatchObject({ [ATTR_REASON]: 'rejected', [ATTR_DECISION]: 'lead' })
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
    ['is refused by a wall', simulator => simulator.inject({ where: 'token', name: 'cloudflare_html_403' }), 'forbidden'],
    ['gets no answer', simulator => simulator.inject({ where: 'token', resetBeforeCommit: true }), 'unavailable'],
  ])('and %s leaves the call to the next profile, with the reason', async (_what, breakIt, reason) => {
    const w = await loginThenKey({}, { firstAccessLifeMs: -1000 })
    breakIt(w.simulator)
    const answer = await w.responses()
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=${reason}`)
    expect(answer.headers.get('x-gatewatch-attempts')).toBe('1')
    for (const counter of ['fallbacks', 'billingChanges'] as const)
      expect(await w.labels(counter)).toEqual([{ provider: 'openai-codex', from: ME, to: KEY, reason }])
    expect(answeredBy(w, CODEX_PATH)).toEqual({})
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
    expect(answer.json.error).toMatchObject({ type: 'gatewatch_error', code: 'GW_ALL_PROFILES_FAILED', next: 'sign_in_again' })
    expect(answer.json.error.message).toBe(
      'no profile could serve responses of model gpt-5.5: openai-codex:empty (missing_credential), openai-codex:old (expired), openai-codex:dead (needs_login). Sign in again: gatewatch profiles login',
    )
    await eventually(async () => {
      const again = await w.responses()
      expect(again.status).toBe(503)
      expect(again.json.error).toMatchObject({ code: 'GW_NO_PROFILE', next: 'sign_in_again' })
    })
  })

  // Seen: the client of the gateway heard "try again later" of a dead login and of a client secret that had expired; some of
  // them were tried again for ever. Issue 1 of 6, C3.
  it.each([
    [200, { error: 'bad_refresh_token' }, 'sign_in_again', 'needs_login', 'Sign in again'],
    [400, { error: 'interaction_required' }, 'sign_in_again', 'needs_login', 'Sign in again'],
    [401, { error: 'invalid_client' }, 'check_client_credentials', 'expired', 'Check the client id and secret'],
    [400, { error: 'invalid_grant' }, 'sign_in_again', 'needs_login', 'Sign in again'],
    [503, {}, 'try_again_later', 'expired', '(unavailable)'],
  ])('because the token endpoint says %i %j, the client hears %s, each time', async (status, body, next, state, words) => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    w.simulator.inject({ where: 'token', status, body })
    for (const _ of ['the first call', 'one that comes later']) {
      const { error } = (await w.responses()).json
      expect(error).toMatchObject({ next, message: expect.stringContaining(words) })
    }
    const [profile] = await w.watch.profiles()
    expect(profile?.state).toBe(state)
    if (profile && next !== 'try_again_later') expect(profileNote(profile, date => date).toLowerCase()).toContain(words.toLowerCase())
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

  it('and it is a listing of models that is asked for, no model is named', async () => {
    const w = await gatewayWorld({})
    const answer = await fetch(`${w.url}/v1/models`)
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ error: { message: 'no profile could serve models: no profile is configured for it' } })
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
