import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { EMBEDDED_METRICS } from '../../dashboards/embedded-metrics.ts'
import {
  ATTR_BILLING_CHANGED,
  ATTR_CALLER,
  ATTR_PROFILE,
  EVENT_FALLBACK,
  METRICS,
  type MetricKey,
  SPAN_CALL,
  SPAN_LOGIN,
} from '../../otel/semconv.ts'
import { requestContext, router } from '../../src/express.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { runCli } from '../cli/run-cli.ts'
import { stateFolder } from '../support/clean-up.ts'
import { atTheEnd, observed, providerOf } from '../support/gateway-world.ts'

const HERE = 'test/e2e/own-gateway.test.ts'
const LOGIN = 'openai-codex:work'
const KEY = 'openai:default'

/**
 * An application in Express with a gateway of its own: it tries its login, and falls back to a key. It keeps its profiles itself, and
 * reports what it does.
 */
async function ownGateway() {
  const recordIn = stateFolder()
  const faults: unknown[] = []
  const watch = await startGatewatch({ environment: {}, recordIn, onError: fault => faults.push(fault) })
  let closing: Promise<void> | undefined
  const close = () => (closing ??= watch.close())
  atTheEnd(close)
  let isLimited = false
  const model = await providerOf((request, response) => {
    const isRefused = isLimited && request.headers.authorization === `Bearer ${LOGIN}`
    response.writeHead(isRefused ? 429 : 200, { 'content-type': 'application/json' }).end('{}')
  })
  const send = watch.wrapCall((profile: string) => fetch(model, { method: 'POST', headers: { authorization: `Bearer ${profile}` } }), {
    provider: 'acme',
    profile: id => id,
  })
  async function chat() {
    const answer = await send(LOGIN)
    if (answer.status !== 429) return { answer, served: LOGIN }
    watch.noteCooldown({ profile: LOGIN, provider: 'openai-codex', reason: 'rate_limit', durationMs: 60_000 })
    watch.noteFallback({ from: LOGIN, to: KEY, reason: 'rate_limit', billingChanged: true, provider: 'openai-codex' })
    return { answer: await send(KEY), served: KEY }
  }
  const app = express()
  app.use(requestContext(watch))
  app.post('/chat', async (_request, response) => {
    const { answer, served } = await chat()
    await answer.arrayBuffer()
    response.json({ served })
  })
  app.use('/gatewatch', router(watch, { authorize: () => true }))
  const server = createServer(app)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  atTheEnd(() => new Promise<void>(resolve => void server.close(() => resolve()).closeAllConnections()))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const limit = (limited: boolean) => {
    isLimited = limited
  }
  const post = async () => (await fetch(`${url}/chat`, { method: 'POST' })).json()
  const get = async (path: string) => (await fetch(url + path)).text()
  return { watch, app, faults, recordIn, limit, post, get, url, close, ...observed(watch) }
}

async function findings(state: string): Promise<{ kind: string; what: string; callers: { caller: string }[] }[]> {
  const { stdout } = await runCli(['diagnose', '--state', state, '--json']).ended
  return JSON.parse(stdout).findings
}

describe('a gateway of the application', () => {
  it('that sends a refresh token again after it was rotated away: diagnose finds out why', async () => {
    const w = await ownGateway()
    const simulator = await startSimulator()
    atTheEnd(() => simulator.stop())
    const first = simulator.grantFor({ provider: 'acme', account: 'me' }).refresh
    const tokenUrl = simulator.url + TOKEN_PATHS.plain
    const send = async (refreshToken = '') => {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'our-gateway' })
      return (await (await fetch(tokenUrl, { method: 'POST', body })).json()) as { access_token?: string; refresh_token?: string }
    }
    const refresh = w.watch.wrapRefresh(send, {
      provider: 'acme',
      profile: 'acme:me',
      tokenUrl,
      tokens: ({ access_token: accessToken, refresh_token: refreshToken }) => ({ accessToken, refreshToken, expiresInS: 3_600 }),
    })
    w.app.post('/refresh', async function renew(_request, response) {
      await refresh(first)
      response.json({})
    })
    await fetch(`${w.url}/refresh`, { method: 'POST' })
    await fetch(`${w.url}/refresh`, { method: 'POST' })
    expect(await w.labels('replays')).toEqual([{ provider: 'acme', profile: 'acme:me', caller: `${HERE}#renew` }])
    expect(await w.watch.profiles()).toMatchObject([{ profile: 'acme:me', state: 'needs_login', generation: 1 }])
    await w.close()
    // It is the same process that got the new token: it has not kept it.
    expect(await findings(w.recordIn)).toMatchObject([{ kind: 'not_persisted', callers: [{ caller: `${HERE}#renew` }] }])
  })

  it('reports its fallbacks and cooldowns: metrics, spans with the caller, page and findings', async () => {
    const w = await ownGateway()
    expect(await w.post()).toEqual({ served: LOGIN })
    w.limit(true)
    expect(await w.post()).toEqual({ served: KEY })

    const move = { provider: 'openai-codex', from: LOGIN, to: KEY, reason: 'rate_limit' }
    expect(await w.labels('fallbacks')).toEqual([move])
    expect(await w.labels('billingChanges')).toEqual([move])
    const lines = (await w.get('/gatewatch/metrics')).split('\n')
    expect(lines.filter(line => line.startsWith('gatewatch_profile_') && line.endsWith(' 1'))).toEqual([
      // Whether the other profiles of the provider serve is not known: nothing is said of `serves`.
      'gatewatch_profile_state{profile="openai-codex:work",provider="openai-codex",state="resting"} 1',
    ])

    const noted = w.spans(SPAN_CALL).find(({ events }) => events.some(({ name }) => name === EVENT_FALLBACK))
    expect(noted?.attributes).toMatchObject({ [ATTR_CALLER]: `${HERE}#chat`, [ATTR_PROFILE]: KEY, [ATTR_BILLING_CHANGED]: true })
    expect(w.spans('POST /chat').map(({ spanId }) => spanId)).toContain(noted?.parentSpanId)

    const ways = JSON.parse(await w.get('/gatewatch/ops/data/fallbacks'))
    expect(ways).toMatchObject({ calls: 1, fellBack: 1, changedBilling: 1, notServed: 0 })
    expect(ways.billingChanges).toMatchObject([{ from: LOGIN, to: KEY, reason: 'rate_limit', count: 1 }])

    await w.close()
    expect(w.faults).toEqual([])
    expect((await findings(w.recordIn)).filter(({ kind }) => kind === 'silent_paid_fallback')).toMatchObject([
      {
        what: expect.stringContaining(`1 call meant for ${LOGIN} went to ${KEY}, which is billed by use (rate_limit 1)`),
        callers: [{ caller: `${HERE}#chat` }],
      },
    ])
  })

  it('reports every metric that boards and alerts ask for, but those that do not apply', async () => {
    const w = await ownGateway()
    const simulator = await startSimulator()
    atTheEnd(() => simulator.stop())
    const tokenUrl = simulator.url + TOKEN_PATHS.plain
    let refreshToken = simulator.grantFor({ provider: 'acme', account: 'me' }).refresh ?? ''
    const ask = async (fields: Record<string, string>) => {
      const answer = await fetch(tokenUrl, { method: 'POST', body: new URLSearchParams({ client_id: 'our-gateway', ...fields }) })
      return (await answer.json()) as { access_token?: string; refresh_token?: string; expires_in?: number }
    }
    const refresh = w.watch.wrapRefresh(() => ask({ grant_type: 'refresh_token', refresh_token: refreshToken }), {
      provider: 'acme',
      profile: 'acme:me',
      tokenUrl,
      tokens: result => ({ accessToken: result.access_token, refreshToken: result.refresh_token, expiresInS: result.expires_in }),
    })
    w.watch.observeProfiles(() => [{ profile: 'acme:me', provider: 'acme', billing: 'subscription' }])
    const model = await providerOf((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"usage":{"prompt_tokens":3,"completion_tokens":4}}')
    })
    const chat = w.watch.wrapCall(async () => (await fetch(model)).json(), { provider: 'acme', model: 'm-1', profile: 'acme:me' })
    const stale = refreshToken
    w.watch.noteLogin({ profile: 'acme:me', provider: 'acme' })
    refreshToken = (await refresh()).refresh_token ?? ''
    await refresh()
    await chat()
    w.limit(true)
    await w.post()
    await ask({ grant_type: 'refresh_token', refresh_token: stale })
    await ask({ grant_type: 'authorization_code', code: 'none' })

    const [reported, silent]: [MetricKey[], MetricKey[]] = [[], []]
    for (const key of Object.keys(METRICS) as MetricKey[]) ((await w.series(key)).length > 0 ? reported : silent).push(key)
    const faultsOfTelemetry: MetricKey[] = ['telemetryDropped', 'labelOverflows']
    const notApplicable = (Object.keys(METRICS) as MetricKey[]).filter(key => 'notApplicable' in EMBEDDED_METRICS[key])
    expect(silent.sort()).toEqual([...notApplicable, ...faultsOfTelemetry].sort())
    expect(reported.length).toBeGreaterThan(15)
  })

  it('reports its logins, and a login ends the cooldown of its profile', async () => {
    const w = await ownGateway()
    w.limit(true)
    await w.post()
    expect(await w.watch.profiles()).toMatchObject([
      { profile: LOGIN, state: 'resting', whyNot: 'cooldown', rests: [{ because: 'rate_limit' }] },
    ])
    w.watch.noteLogin({ profile: LOGIN, provider: 'openai-codex', method: 'device' })
    expect(await w.watch.profiles()).toMatchObject([{ profile: LOGIN, state: 'ready' }])
    expect((await w.labels('operationDuration')).map(({ operation, outcome }) => `${operation} ${outcome}`)).toEqual(['login ok'])
    expect((await w.spanned(SPAN_LOGIN)).attributes).toMatchObject({ [ATTR_PROFILE]: LOGIN })
    w.watch.noteLogout({ profile: LOGIN, provider: 'openai-codex' })
    expect(await w.watch.profiles()).toEqual([])
    expect(w.faults).toEqual([])
  })

  it('says itself whether it is ready, and serves no provider endpoints', async () => {
    const w = await ownGateway()
    const fault = new RangeError('x')
    const answers: (() => boolean | Promise<boolean>)[] = [
      () => true,
      async () => false,
      () => {
        throw fault
      },
      () => Promise.reject(fault),
      () => new Promise(() => undefined),
      () => 'yes' as never,
    ]
    for (const [index, ready] of answers.entries()) w.app.use(`/mounted-${index}`, router(w.watch, { authorize: () => false, ready }))
    const statuses = await Promise.all(answers.map(async (_, index) => (await fetch(`${w.url}/mounted-${index}/readyz`)).status))
    expect(statuses).toEqual([200, 503, 503, 503, 503, 503])
    expect(w.faults).toEqual([fault, expect.objectContaining({ code: 'GW_CONFIG', message: 'ready did not answer within 900 ms' })])
    expect((await fetch(`${w.url}/mounted-0/ops`)).status).toBe(403)
    expect((await fetch(`${w.url}/gatewatch/readyz`)).status).toBe(404)
    for (const path of ['/v1/models', '/v1/chat/completions', '/oauth/token'])
      expect((await fetch(`${w.url}/mounted-0${path}`, { method: 'POST' })).status).toBe(404)
  })
})
