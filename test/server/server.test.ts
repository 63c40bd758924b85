import { Agent, request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { ATTR_HTTP_METHOD, ATTR_HTTP_STATUS } from '../../otel/semconv.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { LISTED_MS, setClockAhead } from '../support/clock-ahead.ts'
import { codexLogin, eventually, gatewayWorld, OPENAI_PROFILE, posted } from '../support/gateway-world.ts'
import { rawConnection } from '../support/raw-request.ts'

const CHAT = '/v1/chat/completions'
const STREAM = posted({ model: 'gpt-5.5', stream: true, messages: [{ role: 'user', content: 'hello' }] })

/** A store that cannot be read while `isBroken`. */
function breakable(): { store: ProfileStore; state: { isBroken: boolean } } {
  const inner = memoryStore()
  const state = { isBroken: false }
  const readable = () => {
    if (state.isBroken) throw new GatewayError('GW_STORE_UNREADABLE', 'cannot read the profiles', { next: 'fix_permissions' })
    return inner
  }
  const store: ProfileStore = {
    read: async id => readable().read(id),
    reload: async id => readable().reload(id),
    list: async () => readable().list(),
    change: (id, update) => inner.change(id, update),
    lease: (id, options) => inner.lease(id, options),
    close: () => inner.close(),
  }
  return { store, state }
}

describe('health', () => {
  it('is good while the process answers; ready while a profile can serve', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await w.ask('/healthz')).toMatchObject({ status: 200, json: { status: 'ok' } })
    expect(await w.ask('/readyz')).toMatchObject({ status: 200, json: { status: 'ready' } })
  })

  it('is good and not ready without a profile that can serve', async () => {
    const w = await gatewayWorld({ profiles: { 'openai-codex:me': { provider: 'openai-codex' } } })
    expect((await w.ask('/healthz')).status).toBe(200)
    expect(await w.ask('/readyz')).toMatchObject({ status: 503, json: { status: 'no profile can serve' } })
  })

  it('is ready with a login that has expired and can be refreshed, not with one that is dead', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    expect((await w.ask('/readyz')).status).toBe(200)
    w.simulator.expireGrant('me')
    await w.responses()
    expect((await w.ask('/readyz')).status).toBe(503)
  })

  it('leaves no spans: probes come every second', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.ask('/healthz')
    await w.ask('/readyz')
    expect(w.spans()).toEqual([])
  })
})

describe('the data of operators', () => {
  it('is the state of profiles, with nothing secret in it', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')], profiles: OPENAI_PROFILE })
    await w.responses()
    const { json } = await w.ask('/ops/data/status')
    expect(json.profiles).toEqual([
      {
        profile: 'openai-codex:me',
        provider: 'openai-codex',
        type: 'oauth',
        billing: 'subscription',
        state: 'ready',
        serves: true,
        expiresInSeconds: expect.any(Number),
        generation: 0,
      },
      { profile: 'openai:default', provider: 'openai', type: 'api_key', billing: 'metered', state: 'ready', serves: true },
    ])
  })

  it('says what a dead login needs', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    w.simulator.expireGrant('me')
    await w.responses()
    const { json } = await w.ask('/ops/data/status')
    expect(json.profiles).toMatchObject([
      {
        state: 'needs_login',
        needsLogin: { outcome: 'grant_expired', since: expect.stringMatching(/^\d{4}-/), providerCode: 'refresh_token_expired' },
      },
    ])
  })

  it('is who refreshed and why, and the spans of a trace', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1000 })] })
    const { headers } = await w.responses({}, { 'x-gatewatch-caller': 'nightly' })
    expect((await w.ask('/ops/data/counts')).json).toMatchObject({
      refreshes: [{ caller: 'client:nightly', reason: 'expired', via: 'gate', outcome: 'rotated', count: 1 }],
      acquisitions: [{ caller: 'client:nightly', reason: 'expired', decision: 'lead', count: 1 }],
    })
    expect((await w.ask('/ops/data/refresh-lines')).json.lines).toMatchObject([{ caller: 'client:nightly', outcome: 'rotated' }])
    expect((await w.ask('/ops/data/bypasses')).json).toMatchObject({ total: 0, bypasses: [] })
    await w.spanned('POST /v1/responses')
    const trace = await w.ask(`/ops/data/traces/${headers.get('x-gatewatch-trace')}`)
    expect(trace.json.spans.map(({ name }: { name: string }) => name)).toEqual([
      'POST /v1/responses',
      'gatewatch.call',
      'gatewatch.gate.acquire',
      'gatewatch.oauth.refresh',
      'chat gpt-5.5',
    ])
    expect((await w.ask('/ops/data/traces/none')).json).toMatchObject({ spans: [] })
  })

  it('is metrics, in the format the scraper asks for', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.chat()
    const open = await w.ask('/metrics', { headers: { accept: 'application/openmetrics-text' } })
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text')
    expect(open.text).toMatch(/# EOF\n$/)
    expect(open.text).toContain('gatewatch_attempt_duration_seconds_count')
    const plain = await w.ask('/metrics')
    expect(plain.headers.get('content-type')).toContain('text/plain')
    expect(plain.text).toContain('gatewatch_profile_state{')
  })

  // Seen: in the span metrics of a collector the scrapes of /metrics stand beside the calls. Issue 1, point F3.
  it('leaves no span of a scrape', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect((await w.ask('/metrics')).status).toBe(200)
    expect(w.spans()).toEqual([])
  })
})

describe('a store that cannot be read', () => {
  it('stops no call that needs nothing of it, nor readiness, health or metrics; and is counted', async () => {
    const { store, state } = breakable()
    const w = await gatewayWorld({ store, profiles: OPENAI_PROFILE })
    state.isBroken = true
    setClockAhead(LISTED_MS)
    await eventually(async () => {
      expect((await w.chat()).status).toBe(200)
      expect(await w.labels('storeErrors')).toEqual([{ operation: 'read', error_type: 'GW_STORE_UNREADABLE' }])
    })
    expect((await w.ask('/readyz')).status).toBe(200)
    expect((await w.ask('/healthz')).status).toBe(200)
    expect((await w.ask('/metrics')).status).toBe(200)
    state.isBroken = false
    expect((await w.chat()).status).toBe(200)
  })
})

describe('the span and the duration of a request', () => {
  it.each([
    ['GET', '/v1/models', 'GET /v1/models', 200],
    ['GET', '/ops/runbook', 'GET /ops/runbook', 200],
    ['GET', '/secret-path-of-a-client', 'GET unmatched', 404],
    ['PURGE', '/v1/models', '_OTHER unmatched', 404],
  ])('of %s %s are named %s', async (method, path, name, status) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    await w.ask(path, { method })
    const span = await w.spanned(name)
    expect(span).toMatchObject({
      kind: 'server',
      attributes: { [ATTR_HTTP_METHOD]: method === 'PURGE' ? '_OTHER' : 'GET', [ATTR_HTTP_STATUS]: status },
    })
    const [verb, route] = name.split(' ')
    expect(await w.labels('serverDuration')).toEqual([
      { http_request_method: verb, http_route: route, http_response_status_code: String(status) },
    ])
  })

  it('are an error when the answer is one of ours', async () => {
    const w = await gatewayWorld({})
    await w.chat()
    expect(await w.spanned(`POST ${CHAT}`)).toMatchObject({ status: 'error', attributes: { [ATTR_HTTP_STATUS]: 503, 'error.type': '503' } })
    expect(await w.labels('serverDuration')).toMatchObject([{ http_response_status_code: '503', error_type: '503' }])
  })

  it('are measured up to the last byte', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 10 })
    await (await fetch(w.url + CHAT, STREAM)).text()
    const server = await w.spanned(`POST ${CHAT}`)
    const attempt = await w.spanned('chat gpt-5.5')
    expect(server.durationMs).toBeGreaterThanOrEqual(attempt.durationMs)
    expect(attempt.durationMs).toBeGreaterThan(50)
  })
})

describe('stopping', () => {
  it('lets an answer under way end, closes its kept-alive connection, and takes nothing new', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 20 })
    const agent = new Agent({ keepAlive: true })
    const answer = new Promise<string>((resolve, reject) => {
      const sent = request(w.url + CHAT, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, async response => {
        // The grace is an hour: that stopping ends means that it did not wait for the connection to go idle by itself.
        stopping.resolve(w.serving.stop(3_600_000))
        resolve(Buffer.concat(await response.toArray()).toString())
      })
      sent.on('error', reject)
      sent.end(STREAM.body)
    })
    const stopping = Promise.withResolvers<void>()
    expect(await answer).toContain('data: [DONE]')
    await stopping.promise
    await expect(fetch(`${w.url}/healthz`)).rejects.toThrow()
    agent.destroy()
  })

  it('cuts what does not end within its grace', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 60_000 })
    const response = await fetch(w.url + CHAT, STREAM)
    await w.serving.stop(50)
    await expect(response.text()).rejects.toThrow()
  })

  it('answers what comes on connections that are open, says that they will be closed, and closes those that stay idle', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const used = await rawConnection(w.url)
    const ask = (path: string) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`
    used.socket.write(ask('/healthz'))
    await eventually(() => expect(used.received()).toContain('Connection: keep-alive'))
    const fresh = await rawConnection(w.url)
    const idle = await rawConnection(w.url)

    // The grace is an hour: what ends before ends by itself.
    const stopped = w.serving.stop(3_600_000)
    await eventually(() => expect(fetch(`${w.url}/healthz`)).rejects.toThrow())
    used.socket.write(ask('/healthz'))
    fresh.socket.write(ask('/readyz'))
    await Promise.all([used.closed, fresh.closed, idle.closed, stopped])
    expect(used.received()).toMatch(/HTTP\/1\.1 200 OK.*HTTP\/1\.1 200 OK\r\n.*Connection: close/s)
    expect(fresh.received()).toMatch(/HTTP\/1\.1 503 .*Connection: close.*\{"status":"stopping"\}/s)
    expect(idle.received()).toBe('')
  })

  it('leaves a connection open for a while whose answer, begun before, has not said that it will be closed', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', slowChunksMs: 20 })
    const { socket, received, closed } = await rawConnection(w.url)
    const call = `POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${String(STREAM.body).length}\r\n\r\n${STREAM.body}`
    const answers = () => received().match(/HTTP\/1\.1 200 OK/g)?.length ?? 0
    const ends = () => received().match(/data: \[DONE\]/g)?.length ?? 0
    socket.write(call)
    await eventually(() => expect(answers()).toBe(1))
    const stopped = w.serving.stop(3_600_000)
    await eventually(() => expect(ends()).toBe(1))
    expect(received()).toContain('Connection: keep-alive')
    socket.write(call)
    await Promise.all([closed, stopped])
    expect([answers(), ends()]).toEqual([2, 2])
    expect(received()).toContain('Connection: close')
  })

  it('takes the shorter grace when it is asked for again', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    const waiting = w.chat()
    await eventually(() => expect(hanging.hits()).toBe(1))
    const patient = w.serving.stop(3_600_000)
    await w.serving.stop(50)
    await patient
    expect((await waiting).status).toBe(503)
  })

  it('can be asked for twice', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const ends = await Promise.allSettled([w.serving.stop(), w.serving.stop()])
    expect([...ends, ...(await Promise.allSettled([w.serving.stop()]))].map(({ status }) => status)).toEqual(Array(3).fill('fulfilled'))
  })

  it('of the gateway behind it answers those who still wait', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    const waiting = w.chat()
    await eventually(() => expect(hanging.hits()).toBe(1))
    await w.watch.close(50)
    expect(await waiting).toMatchObject({ status: 503, json: { error: { code: 'GW_CLOSED', next: 'try_again_later' } } })
    expect(w.spans('chat gpt-5.5')).toMatchObject([{ status: 'error', attributes: { 'gatewatch.attempt.outcome': 'aborted' } }])
  })
})
