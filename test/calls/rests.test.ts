import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { ATTR_LAST_RESORT, SPAN_CALL } from '../../otel/semconv.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { LISTED_MS, setClockAhead } from '../support/clock-ahead.ts'
import {
  type Answered,
  codexLogin,
  eventually,
  type GatewayWorld,
  gatewayWorld,
  OPENAI_KEY,
  OPENAI_PROFILE,
  providerOf,
  storedKey,
} from '../support/gateway-world.ts'
import { answeredBy, CODEX_PATH, KEY, loginThenKey, ME } from './login-then-key.ts'

const servedBy = (headers: Headers) => headers.get('x-gatewatch-profile')
const profileOf = async (w: GatewayWorld, wanted: string) => (await w.watch.profiles()).find(({ profile }) => profile === wanted)

/** A provider that holds every answer back until the test gives it. */
async function heldProvider() {
  const waiting: ServerResponse[] = []
  const baseUrl = await providerOf((request, response) => {
    request.resume()
    waiting.push(response)
  })
  return {
    baseUrl,
    arrived: async (count: number) => eventually(() => expect(waiting).toHaveLength(count)),
    requests: () => waiting.length,
    good: (index: number) => waiting[index]?.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"x","choices":[]}'),
    refuse: (index: number, status: number, headers: Record<string, string> = {}, error: object = {}) =>
      waiting[index]?.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error })),
  }
}

// Seen: after a login died and a user signed in again the profile went on resting, and the paid key served (82 of 2,650 calls).
// Why: a rest belonged to the profile's name. Fix: it belongs to the credential that failed.
// Issue 22, D3.
describe('a login that was refused', () => {
  it('is replaced by a new one, which serves from the next look at the store', async () => {
    const store = memoryStore()
    const w = await gatewayWorld({ store, profiles: OPENAI_PROFILE })
    const signIn = () => store.change(ME, () => codexLogin(w.simulator, 'me'))
    await signIn()
    for (let cycle = 0; cycle < 3; cycle += 1) {
      await eventually(async () => expect(servedBy((await w.responses()).headers)).toBe(ME))
      const refused = w.simulator.inject({ where: CODEX_PATH, name: 'token_invalidated_401' })
      expect(servedBy((await w.responses()).headers)).toBe(KEY)
      refused.remove()
      expect(await profileOf(w, ME)).toMatchObject({ state: 'resting', serves: false, rests: [{ because: 'auth_permanent', status: 401 }] })
      await signIn()
      setClockAhead(LISTED_MS)
      await eventually(async () => expect(await profileOf(w, ME)).toMatchObject({ state: 'ready', serves: true }))
    }
    await eventually(async () => expect(servedBy((await w.responses()).headers)).toBe(ME))
  })

  it('that another key replaces does not rest that one', async () => {
    const store = memoryStore([storedKey(KEY, 'sk-unknown-key-0000')])
    const w = await gatewayWorld({ store })
    expect((await w.chat()).json.error).toMatchObject({ next: 'replace_key' })
    expect(await profileOf(w, KEY)).toMatchObject({ state: 'resting', rests: [{ because: 'auth', code: 'invalid_api_key' }] })
    await store.change(KEY, () => storedKey(KEY, OPENAI_KEY))
    setClockAhead(LISTED_MS)
    await eventually(async () => expect(await profileOf(w, KEY)).toMatchObject({ state: 'ready' }))
    expect((await w.chat()).status).toBe(200)
  })

  it('does not hold up the first refresh of the new one', async () => {
    const store = memoryStore()
    const w = await gatewayWorld({ store })
    const expired = () => store.change(ME, () => codexLogin(w.simulator, 'me', { firstAccessLifeMs: -1_000 }))
    await expired()
    await eventually(async () => expect(await w.watch.profiles()).toHaveLength(1))
    w.simulator.inject({ where: 'token', name: 'throttled_429', headers: { 'retry-after': '600' }, times: 1 })
    const refused = await w.responses()
    expect(refused.json.error).toMatchObject({ next: 'try_again_later' })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(500)
    await expired()
    setClockAhead(LISTED_MS)
    await eventually(async () => expect((await w.responses()).status).toBe(200))
  })

  // Seen: for up to a second after a login the gateway passed it over, for a pause of the gate or a dead grant of the one
  // before, and the paid key served. Why: calls chose by a listing of the store that may be a second old.
  // Fix: a profile that could not serve at listing is looked at again. Issue 1, D3.
  it.each<[string, (w: GatewayWorld) => unknown, string]>([
    [
      'a pause of the gate',
      w => w.simulator.inject({ where: 'token', name: 'throttled_429', headers: { 'retry-after': '600' } }),
      'throttled',
    ],
    ['a dead grant', w => w.simulator.expireGrant('me'), 'needs_login'],
  ])('does not pass on %s: the first call after the new login is served by it', async (_what, breakIt, reason) => {
    const store = memoryStore()
    const w = await gatewayWorld({ store, profiles: OPENAI_PROFILE })
    await store.change(ME, () => codexLogin(w.simulator, 'me', { firstAccessLifeMs: -1_000 }))
    setClockAhead(LISTED_MS)
    await eventually(async () => expect(await w.watch.profiles()).toHaveLength(2))
    breakIt(w)
    await eventually(async () => expect((await w.responses()).headers.get('x-gatewatch-fallback')).toContain(`reason=${reason}`))
    // The listing is as young as it can be.
    expect(servedBy((await w.responses()).headers)).toBe(KEY)
    await store.change(ME, () => codexLogin(w.simulator, 'me'))
    expect(servedBy((await w.responses()).headers)).toBe(ME)
  })

  it('leaves a limit of its account standing when the same account signs in again', async () => {
    const store = memoryStore()
    const w = await gatewayWorld({ store, profiles: OPENAI_PROFILE })
    const signIn = () => store.change(ME, () => codexLogin(w.simulator, 'me'))
    await signIn()
    w.simulator.inject({ where: CODEX_PATH, name: 'usage_limit_429', times: 1 })
    await eventually(async () => expect((await w.responses()).headers.get('x-gatewatch-fallback')).toContain('rate_limit'))
    await signIn()
    setClockAhead(LISTED_MS)
    await eventually(async () => expect(await profileOf(w, ME)).toMatchObject({ state: 'resting', rests: [{ because: 'rate_limit' }] }))
    expect(servedBy((await w.responses()).headers)).toBe(KEY)
  })
})

// Seen: of parallel calls, those that had begun before a 402 were served after it, and its five hours were forgotten; eight
// workers made 18 requests that ended in 429 within 750 ms. Why: every success ended a rest.
// Fix: an outcome counts only against what was known when its attempt began.
// Issue 22, E2.
describe('a success that began before a refusal', () => {
  it.each<[string, number, Record<string, string>]>([
    ['a bill', 402, { 'retry-after': '18000' }],
    ['a limit', 429, { 'retry-after': '600' }],
  ])('does not end the rest of %s', async (_what, status, headers) => {
    const provider = await heldProvider()
    const w = await gatewayWorld({
      stored: () => [storedKey('openai:a', 'sk-a')],
      profiles: { 'other:b': { provider: 'other', apiKeyEnv: 'OPENAI_KEY' } },
      providers: simulator => ({ openai: { baseUrl: provider.baseUrl }, other: { baseUrl: `${simulator.url}/v1` } }),
      order: ['openai:a', 'other:b'],
    })
    const calls = [w.chat(), w.chat(), w.chat()]
    await provider.arrived(3)
    provider.refuse(0, status, headers)
    await eventually(async () => expect(await profileOf(w, 'openai:a')).toMatchObject({ state: 'resting' }))
    const promised = (await profileOf(w, 'openai:a'))?.restsUntil
    provider.good(1)
    provider.good(2)
    expect((await Promise.all(calls)).map(({ headers: given }) => servedBy(given)).sort()).toEqual(['openai:a', 'openai:a', 'other:b'])
    expect(await profileOf(w, 'openai:a')).toMatchObject({ state: 'resting', restsUntil: promised, rests: [{ consecutiveFailures: 1 }] })
    for (let call = 0; call < 5; call += 1) expect(servedBy((await w.chat()).headers)).toBe('other:b')
    expect(provider.requests()).toBe(3)
  })

  it('and failures that end together are one, of which the longest and the gravest holds', async () => {
    const provider = await heldProvider()
    const w = await gatewayWorld({ stored: () => [storedKey('openai:a', 'sk-a')], providers: { openai: { baseUrl: provider.baseUrl } } })
    const calls = Array.from({ length: 5 }, () => w.chat())
    await provider.arrived(5)
    provider.refuse(0, 429, { 'retry-after': '2' })
    await calls[0]
    provider.refuse(1, 429, { 'retry-after': '600' })
    provider.refuse(2, 429, { 'retry-after': '3' })
    provider.refuse(3, 401, {}, { code: 'account_deactivated', message: '' })
    provider.refuse(4, 503)
    await Promise.all(calls)
    const rested = await profileOf(w, 'openai:a')
    expect(rested?.rests?.map(({ because }) => because).sort()).toEqual(['auth_permanent', 'rate_limit'])
    expect(rested?.rests?.map(({ consecutiveFailures }) => consecutiveFailures)).toEqual([1, 1])
    const limit = rested?.rests?.find(({ because }) => because === 'rate_limit')
    expect(Date.parse(limit?.until ?? '') - Date.parse(limit?.since ?? '')).toBeGreaterThan(590_000)
  })
})

// Seen: a refresh token that died took its good access token with it within a second, and the paid key served.
// Why: a dead grant was passed over. Fix: it serves until its access token ends or is refused, and is shown as what it is.
// Issue 22, E3.
describe('a dead refresh token beside a good access token', () => {
  /** A login whose refresh the provider refused for good, an hour before its access token ends. */
  async function deadGrant(lifeMs = 3_600_000) {
    const w = await loginThenKey({}, { firstAccessLifeMs: lifeMs })
    w.simulator.expireGrant('me')
    await expect(w.watch.acquireToken({ profile: ME, reason: 'operator' })).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    await eventually(async () => expect(await profileOf(w, ME)).toMatchObject({ state: 'needs_login' }))
    return w
  }

  it('serves on, is shown with the time it still serves, and asks the token endpoint nothing', async () => {
    const w = await deadGrant()
    const before = w.simulator.counts().tokenRequests.total
    for (let call = 0; call < 3; call += 1) expect(servedBy((await w.responses()).headers)).toBe(ME)
    const shown = await profileOf(w, ME)
    expect(shown).toMatchObject({ state: 'needs_login', serves: true, needsLogin: { outcome: 'grant_expired' } })
    expect(Date.parse(shown?.needsLogin?.servesUntil ?? '') - Date.now()).toBeGreaterThan(3_500_000)
    expect(w.simulator.counts().tokenRequests.total).toBe(before)
    expect((await w.ask('/readyz')).status).toBe(200)
    const states = await w.series('profileState')
    expect(states.find(({ labels, value }) => labels.profile === ME && value === 1)?.labels.state).toBe('needs_login')
  })

  it('serves in the minutes in which it would be refreshed too', async () => {
    const w = await deadGrant(60_000)
    expect(servedBy((await w.responses()).headers)).toBe(ME)
  })

  it('serves no more once the provider refuses it: not even one more request is sent', async () => {
    const w = await deadGrant()
    w.simulator.expireAccess('me')
    expect((await w.responses()).headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=auth`)
    for (let call = 0; call < 3; call += 1)
      expect((await w.responses()).headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=needs_login`)
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 401: 1 })
    expect(await profileOf(w, ME)).toMatchObject({ state: 'needs_login', serves: false, whyNot: 'needs_login' })
  })
})

describe('what the provider says about waiting', () => {
  // Seen: a 500 with Retry-After was asked again at once; a 401 and then one 503 of the token endpoint rested a login for 30 s.
  // Why: a server error rested nothing; the ladder of refused keys was used for a token that only had to be refreshed.
  // Fix: a named time is kept to whatever the status; a rejected token rests until the gate tries again.
  // Issue 22, E7.
  it.each([500, 503])('is heard with %i too', async status => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, status, headers: { 'retry-after': '600' }, times: 1 })
    await w.responses()
    expect(await profileOf(w, ME)).toMatchObject({ state: 'resting', rests: [{ isPromised: true, status }] })
    for (let call = 0; call < 3; call += 1) expect(servedBy((await w.responses()).headers)).toBe(KEY)
    expect(answeredBy(w, CODEX_PATH)).toEqual({ [status]: 1 })
  })

  it('a server error without a word rests nothing', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'server_error_500', times: 1 })
    await w.responses()
    expect(servedBy((await w.responses()).headers)).toBe(ME)
  })

  it('a delay in the body of a 429 is a rate limit of that length, and no bill', async () => {
    const w = await loginThenKey()
    const error = {
      code: 429,
      status: 'RESOURCE_EXHAUSTED',
      message: 'You exceeded your current quota, please check your plan and billing details. Please retry in 600s.',
      details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '600s' }],
    }
    w.simulator.inject({ where: CODEX_PATH, status: 429, body: [{ error }], times: 1 })
    expect((await w.responses()).headers.get('x-gatewatch-fallback')).toContain('reason=rate_limit')
    const [rest] = (await profileOf(w, ME))?.rests ?? []
    expect(rest).toMatchObject({ because: 'rate_limit', isPromised: true, code: 'RESOURCE_EXHAUSTED' })
    expect(Date.parse(rest?.until ?? '') - Date.parse(rest?.since ?? '')).toBe(600_000)
  })

  it('a 401 and then one 503 of the token endpoint rest the login until the gate tries again, and no longer', async () => {
    const w = await loginThenKey()
    w.simulator.expireAccess('me')
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    expect(servedBy((await w.responses()).headers)).toBe(KEY)
    const [rest] = (await profileOf(w, ME))?.rests ?? []
    if (rest) expect(Date.parse(rest.until) - Date.parse(rest.since)).toBeLessThanOrEqual(1_000)
    setClockAhead(1_000)
    await eventually(async () => expect(servedBy((await w.responses()).headers)).toBe(ME))
    expect(w.simulator.counts().tokenRequests.total).toBe(2)
  })

  it('the limit of one model rests that model on that profile, and not the login', async () => {
    const w = await loginThenKey()
    const message = 'Rate limit reached for gpt-5.5 in organization org-1 on tokens per min (TPM): Limit 1. Please try again in 600s.'
    w.simulator.inject({ where: CODEX_PATH, status: 429, body: { error: { code: 'rate_limit_exceeded', message } }, times: 1 })
    expect(servedBy((await w.responses()).headers)).toBe(KEY)
    expect(servedBy((await w.responses({ model: 'gpt-5.5-mini' })).headers)).toBe(ME)
    expect(servedBy((await w.responses()).headers)).toBe(KEY)
    expect(await profileOf(w, ME)).toMatchObject({ state: 'ready', serves: true, rests: [{ model: 'gpt-5.5', because: 'rate_limit' }] })
    expect(await profileOf(w, ME)).not.toHaveProperty('restsUntil')
    expect(answeredBy(w, CODEX_PATH)).toEqual({ 429: 1, 200: 1 })
  })
})

describe('when everything rests', () => {
  it('no call of the crowd tries within the promised time', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', status: 429, headers: { 'retry-after': '600' } })
    await w.chat()
    const crowd = await Promise.all(Array.from({ length: 12 }, () => w.chat()))
    for (const { status, headers, json } of crowd) {
      expect(status).toBe(503)
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(500)
      expect(json.error).toMatchObject({ code: 'GW_NO_PROFILE', next: 'try_again_later' })
    }
    expect(answeredBy(w, '/v1/chat/completions')).toEqual({ 429: 1 })
  })

  it('the crowd goes on as soon as the one attempt is answered well', async () => {
    const provider = await heldProvider()
    const w = await gatewayWorld({ stored: () => [storedKey('openai:a', 'sk-a')], providers: { openai: { baseUrl: provider.baseUrl } } })
    const first = w.chat()
    await provider.arrived(1)
    provider.refuse(0, 429)
    await first
    // Half a minute of our own estimate: the first attempt goes after a sixth of it.
    setClockAhead(5_000)
    let paced: Promise<Answered> | undefined
    await eventually(async () => {
      paced = w.chat()
      await Promise.race([paced, provider.arrived(2)])
      expect(provider.requests()).toBe(2)
    })
    const crowd = [paced, ...Array.from({ length: 5 }, () => w.chat())]
    provider.good(1)
    await provider.arrived(7)
    for (let index = 2; index < 7; index += 1) provider.good(index)
    expect((await Promise.all(crowd)).map(answer => answer?.status)).toEqual(Array(6).fill(200))
    expect(await profileOf(w, 'openai:a')).toMatchObject({ state: 'ready' })
    // Who comes when the attempt has been answered already finds nothing resting; and spans end behind the answers.
    await eventually(() => expect(w.spans(SPAN_CALL).filter(({ attributes }) => attributes[ATTR_LAST_RESORT])).not.toEqual([]))
  })

  it('a login whose refresh is paused is passed over in favour of a key that rests', async () => {
    const w = await loginThenKey({}, { firstAccessLifeMs: -1_000 })
    w.simulator.inject({ where: 'token', name: 'throttled_429', headers: { 'retry-after': '600' }, times: 1 })
    w.simulator.inject({ where: '/v1/responses', name: 'throttled_429', times: 1 })
    await w.responses()
    setClockAhead(5_000)
    const answer = await eventually(async () => {
      const served = await w.responses()
      expect(served.status).toBe(200)
      return served
    })
    expect(answer.headers.get('x-gatewatch-fallback')).toBe(`${ME} -> ${KEY}; reason=throttled`)
  })
})

describe('a probe', () => {
  it('that is good ends the rest of a refused credential, and no other', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name: 'token_invalidated_401', times: 2 })
    await w.responses()
    expect(await profileOf(w, ME)).toMatchObject({ state: 'resting' })
    expect(await w.watch.probe(ME)).toMatchObject([{ outcome: 'ok' }])
    expect(await profileOf(w, ME)).toMatchObject({ state: 'ready' })
    w.simulator.inject({ where: CODEX_PATH, name: 'payment_required_402', times: 1 })
    await w.responses()
    await w.watch.probe(ME)
    expect(await profileOf(w, ME)).toMatchObject({ state: 'resting', rests: [{ because: 'billing', type: 'billing_error' }] })
  })

  it('of a credential that is gone is not shown', async () => {
    const store = memoryStore([storedKey(KEY, 'sk-unknown-key-0000')])
    const w = await gatewayWorld({ store })
    await w.watch.probe()
    expect(await profileOf(w, KEY)).toMatchObject({ probe: { outcome: 'auth' } })
    await store.change(KEY, (): StoredProfile => storedKey(KEY, OPENAI_KEY))
    setClockAhead(LISTED_MS)
    await eventually(async () => expect(await profileOf(w, KEY)).not.toHaveProperty('probe'))
    expect(await w.series('probeDivergence')).toEqual([])
  })
})
