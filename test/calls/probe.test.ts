import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_ERROR_TYPE,
  ATTR_PROBE_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_PROBE,
} from '../../otel/semconv.ts'
import type { FaultName } from '../../src/simulator/fault.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { searchForSecrets } from '../e2e/secrets.ts'
import {
  atTheEnd,
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

const LISTING = '/backend-api/codex/models'
const LABELS = { provider: 'openai-codex', profile: ME }

const loginAlone = (life: { firstAccessLifeMs?: number } = {}) => gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', life)] })

/** Whether an age is that of something that has just happened. */
const isNow = (ageSeconds: number) => ageSeconds >= 0 && ageSeconds < 60

/** The series of the divergence, by profile. */
async function divergences(w: GatewayWorld): Promise<Record<string, number>> {
  return Object.fromEntries((await w.series('probeDivergence')).map(({ labels, value }) => [labels.profile, value]))
}

describe('a probe', () => {
  it('of a good login says so: in its result, in the snapshot, in a span over the call it makes, in the metrics', async () => {
    const w = await loginAlone()
    expect(await w.watch.probe()).toEqual([{ profile: ME, provider: 'openai-codex', outcome: 'ok', verdict: 'good', diverges: false }])
    expect(await w.watch.profiles()).toMatchObject([
      { state: 'ready', probe: { outcome: 'ok', ageSeconds: expect.toSatisfy(isNow), diverges: false } },
    ])
    expect(answeredBy(w, LISTING)).toEqual({ 200: 1 })
    const [span] = w.spans(SPAN_PROBE)
    expect(span).toMatchObject({
      status: 'unset',
      attributes: { [ATTR_PROVIDER]: 'openai-codex', [ATTR_PROFILE]: ME, [ATTR_PROBE_OUTCOME]: 'ok' },
    })
    expect(span?.attributes[ATTR_CALLER]).toMatch(/^test\/calls\/probe\.test\.ts#/)
    expect(w.spans(SPAN_CALL)).toMatchObject([{ parentSpanId: span?.spanId, attributes: { [ATTR_CALLER]: 'probe' } }])
    expect(await w.labels('attemptDuration')).toEqual([expect.objectContaining({ caller: 'probe', outcome: 'ok' })])
    expect(await divergences(w)).toEqual({ [ME]: 0 })
    expect(await w.series('probeAge')).toMatchObject([{ labels: LABELS, value: expect.toSatisfy(isNow) }])
  })

  it('sends the ChatGPT backend the version without which it lists no models', async () => {
    const asked: string[] = []
    const backend = await providerOf((request, response) => {
      asked.push(request.url ?? '')
      response.end('{"models":[]}')
    })
    const w = await gatewayWorld({
      stored: simulator => [codexLogin(simulator, 'me')],
      providers: { 'openai-codex': { baseUrl: backend } },
    })
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'ok' }])
    expect(asked).toEqual([expect.stringMatching(/^\/codex\/models\?client_version=\d+\.\d+\.\d+$/)])
  })

  it('finds a profile by its id and by the name that telemetry shows', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me@example.com')], profiles: OPENAI_PROFILE })
    const [byId] = await w.watch.probe('openai-codex:me@example.com')
    expect(byId).toMatchObject({ profile: expect.stringMatching(/^openai-codex:[0-9a-f]{8}$/), outcome: 'ok' })
    expect(await w.watch.probe(byId?.profile)).toEqual([byId])
    expect(await divergences(w)).toEqual({ [byId?.profile ?? '']: 0 })
  })

  it('of an unknown profile is refused, with the names there are', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await expect(w.watch.probe('openai:missing')).rejects.toMatchObject({
      code: 'GW_PROFILE_UNKNOWN',
      message: expect.stringContaining('there are: openai:default'),
    })
    expect(w.spans(SPAN_PROBE)).toEqual([])
  })

  it('that was never made leaves no trace in snapshot and metrics', async () => {
    const w = await loginThenKey()
    await w.responses()
    expect((await w.watch.profiles()).filter(({ probe }) => probe)).toEqual([])
    expect([...(await w.series('probeDivergence')), ...(await w.series('probeAge'))]).toEqual([])
  })

  it('is shared by those who ask while it is under way', async () => {
    const w = await loginAlone()
    const asked = await Promise.all([w.watch.probe(), w.watch.probe(ME), w.watch.probe()])
    expect(asked).toEqual([asked[0], asked[0], asked[0]])
    expect(answeredBy(w, LISTING)).toEqual({ 200: 1 })
  })
})

describe('a probe changes nothing for the calls that follow', () => {
  it('it is no turn of its profile', async () => {
    const w = await gatewayWorld({ stored: () => [storedKey('openai:a', OPENAI_KEY), storedKey('openai:b', OPENAI_KEY)] })
    const served = async () => (await w.chat()).headers.get('x-gatewatch-profile')
    expect(await served()).toBe('openai:a')
    await w.watch.probe('openai:b')
    expect(await served()).toBe('openai:b')
  })

  it('its failure rests no profile', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: '/v1/models', name: 'insufficient_quota_429' })
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'billing', verdict: 'dead' }])
    expect(await w.watch.profiles()).toMatchObject([{ state: 'ready' }])
  })

  it('its success ends no rest', async () => {
    const w = await loginThenKey()
    w.simulator.inject({ where: 'provider', name: 'usage_limit_429', account: 'me', times: 1 })
    await w.responses()
    expect(await w.watch.probe(ME)).toMatchObject([{ outcome: 'ok' }])
    expect(await w.watch.profiles()).toContainEqual(expect.objectContaining({ profile: ME, state: 'resting' }))
  })

  it('a token that is rejected for the listing alone is not refreshed, however often it is asked', async () => {
    const w = await loginAlone()
    w.simulator.inject({ where: LISTING, name: 'token_expired_401' })
    for (let times = 0; times < 3; times += 1) expect(await w.watch.probe()).toMatchObject([{ outcome: 'auth', verdict: 'dead' }])
    expect(w.simulator.counts().tokenRequests.total).toBe(0)
    expect(w.spans(SPAN_ACQUIRE)).toEqual([])
    expect(w.spans(SPAN_PROBE)[0]).toMatchObject({
      status: 'error',
      attributes: { [ATTR_ERROR_TYPE]: 'auth', [ATTR_PROBE_OUTCOME]: 'auth' },
    })
  })

  it('a rejected token that was refreshed meanwhile is not the last word: the newer one is asked with', async () => {
    const simulator = await startSimulator()
    atTheEnd(() => simulator.stop())
    const arrived = Promise.withResolvers<void>()
    const refreshed = Promise.withResolvers<void>()
    const bearers = new Set<string | undefined>()
    const backend = await providerOf(async (request, response) => {
      bearers.add(request.headers.authorization)
      if (bearers.size > 1) return response.end('{"models":[]}')
      arrived.resolve()
      await refreshed.promise
      return response.writeHead(401, { 'content-type': 'application/json' }).end('{"detail":{"code":"token_expired"}}')
    })
    const w = await gatewayWorld({
      stored: () => [codexLogin(simulator, 'me')],
      providers: { 'openai-codex': { baseUrl: backend, tokenUrl: simulator.url + TOKEN_PATHS.openai } },
    })
    const probing = w.watch.probe()
    await arrived.promise
    await w.watch.acquireToken({ profile: ME, reason: 'operator' })
    refreshed.resolve()
    expect(await probing).toMatchObject([{ outcome: 'ok' }])
    expect(bearers.size).toBe(2)
    expect(simulator.counts().tokenRequests.total).toBe(1)
  })
})

describe('a probe of a token that has expired', () => {
  it('refreshes it through the gate, in one request with the calls that come at the same time', async () => {
    const w = await loginAlone({ firstAccessLifeMs: -1000 })
    const [probes, ...answers] = await Promise.all([w.watch.probe(), w.responses(), w.responses(), w.responses()])
    expect(probes).toMatchObject([{ outcome: 'ok', diverges: false }])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(w.simulator.counts().tokenRequests).toMatchObject({ total: 1, committed: 1 })
    const decisions = w.spans(SPAN_ACQUIRE).map(({ attributes }) => attributes[ATTR_DECISION])
    expect(decisions.filter(decision => decision === 'lead')).toHaveLength(1)
    expect(w.spans(SPAN_ACQUIRE).map(({ attributes }) => attributes[ATTR_CALLER])).toContain('probe')
  })

  it('says so when the gate can get no other', async () => {
    const w = await loginAlone({ firstAccessLifeMs: -1000 })
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'unavailable', verdict: 'unrefreshed' }])
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })
})

describe('a probe of what no call would use', () => {
  it('says that a login is needed, and sends nothing', async () => {
    const w = await loginAlone({ firstAccessLifeMs: -1000 })
    w.simulator.expireGrant('me')
    await w.responses()
    const before = w.simulator.counts()
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'needs_login', verdict: 'dead', diverges: false }])
    expect(w.simulator.counts()).toEqual(before)
    expect(w.spans(SPAN_PROBE)).toMatchObject([{ status: 'error', attributes: { [ATTR_PROBE_OUTCOME]: 'needs_login' } }])
  })

  it('says that a login was configured and is not there', async () => {
    const w = await gatewayWorld({ profiles: { 'openai-codex:work': { provider: 'openai-codex' } } })
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'missing_credential', verdict: 'dead' }])
  })

  it('says that the order leaves it out', async () => {
    const w = await loginThenKey({ order: [KEY] })
    expect(await w.watch.probe(ME)).toMatchObject([{ outcome: 'excluded_by_order', verdict: 'silent', diverges: false }])
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })
})

describe('a provider that is down', () => {
  it.each([
    ['resets the connection', { resetBeforeCommit: true }, 'server_error', {}],
    ['answers 500', { name: 'server_error_500' as FaultName }, 'server_error', {}],
    ['is overloaded', { name: 'overloaded_529' as FaultName }, 'overloaded', {}],
    ['hangs', { hang: true }, 'timeout', { headersTimeoutMs: 1_000 }],
  ])('that %s is no fault of the credential, so nothing diverges', async (_how, effect, outcome, upstream) => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], upstream })
    await w.responses()
    w.simulator.inject({ where: LISTING, ...effect })
    expect(await w.watch.probe()).toMatchObject([{ outcome, verdict: 'troubled', diverges: false }])
    expect(await divergences(w)).toEqual({ [ME]: 0 })
  })

  it('nor is a provider that lists no models', async () => {
    const w = await loginAlone()
    await w.responses()
    w.simulator.inject({ where: LISTING, name: 'model_not_found_404' })
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'model_not_found', verdict: 'silent', diverges: false }])
  })
})

describe('probe and calls diverge', () => {
  it.each<[FaultName, string]>([
    ['token_invalidated_401', 'auth_permanent'],
    ['token_expired_401', 'auth'],
    ['missing_scope_403', 'auth_permanent'],
    ['insufficient_quota_429', 'billing'],
  ])('when the listing is good and turns end in %s, seen by the very next scrape', async name => {
    const w = await loginThenKey()
    w.simulator.inject({ where: CODEX_PATH, name })
    await w.watch.probe()
    expect(await divergences(w)).toEqual({ [ME]: 0, [KEY]: 0 })
    await w.responses()
    expect(await divergences(w)).toEqual({ [ME]: 1, [KEY]: 0 })
    expect(await w.watch.profiles()).toContainEqual(
      expect.objectContaining({ profile: ME, probe: expect.objectContaining({ diverges: true }) }),
    )
  })

  it('when the token is rejected for the listing and turns are good, until both agree again', async () => {
    const w = await loginAlone()
    const fault = w.simulator.inject({ where: LISTING, name: 'token_expired_401' })
    await w.responses()
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'auth', diverges: true }])
    expect(await divergences(w)).toEqual({ [ME]: 1 })
    fault.remove()
    expect(await w.watch.probe()).toMatchObject([{ outcome: 'ok', diverges: false }])
    expect(await divergences(w)).toEqual({ [ME]: 0 })
  })

  it('when a refresh of a working token is refused, until an acquisition or a call is served again', async () => {
    const w = await loginAlone()
    await w.watch.probe()
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    await expect(w.watch.acquireToken({ profile: ME, reason: 'operator' })).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED' })
    expect(await divergences(w)).toEqual({ [ME]: 1 })
    await w.watch.acquireToken({ profile: ME, reason: 'operator' })
    expect(await divergences(w)).toEqual({ [ME]: 0 })
  })

  it('not because a caller asks the gate for a profile that has nothing to refresh', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.watch.probe()
    await expect(w.watch.acquireToken({ profile: KEY, reason: 'operator' })).rejects.toMatchObject({ code: 'GW_PROFILE_UNKNOWN' })
    expect(await divergences(w)).toEqual({ [KEY]: 0 })
  })
})

describe('a gateway with a schedule', () => {
  it('probes every profile again and again', async () => {
    const w = await loginThenKey({ probe: { everyMs: 1_000 } })
    await eventually(() => expect(w.spans(SPAN_PROBE).length).toBeGreaterThanOrEqual(4))
    expect(new Set(w.spans(SPAN_PROBE).map(({ attributes }) => attributes[ATTR_PROFILE]))).toEqual(new Set([ME, KEY]))
    expect(w.spans(SPAN_PROBE)[0]?.attributes[ATTR_CALLER]).toBe('probe')
    expect(await divergences(w)).toEqual({ [ME]: 0, [KEY]: 0 })
  })

  it('is not held by a provider that hangs when it stops, and probes no more', async () => {
    const w = await loginThenKey({ probe: { everyMs: 1_000 } })
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    await eventually(() => expect(hanging.hits()).toBe(1))
    await w.watch.close()
    expect(await w.watch.probe().catch(() => [])).toEqual([])
    expect(hanging.hits()).toBe(1)
  })
})

describe('the secrets of a profile', () => {
  it('are in nothing that a probe leaves behind, whatever it met', async () => {
    const w = await loginThenKey({}, { firstAccessLifeMs: -1000 })
    const search = searchForSecrets()
    search.add({ what: 'the key', text: OPENAI_KEY })
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    const said = [JSON.stringify(await w.watch.probe())]
    w.simulator.expireGrant('me')
    w.simulator.inject({ where: '/v1/models', name: 'invalid_api_key_401', times: 1 })
    said.push(JSON.stringify(await w.watch.probe()), (await w.post('/ops/probe', '')).text)
    said.push(String(await w.watch.probe(OPENAI_KEY).catch((error: Error) => error.message)))
    said.push((await w.post(`/ops/probe?profile=${OPENAI_KEY}`, '')).text)
    said.push(JSON.stringify(w.spans()), (await w.watch.metrics()).body, JSON.stringify(await w.watch.profiles()))
    expect(said.map(text => search.find(text))).toEqual(said.map(() => []))
  })
})
