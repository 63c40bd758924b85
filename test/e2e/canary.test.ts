import http from 'node:http'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import { ATTR_ATTEMPT_OUTCOME, ATTR_OUTCOME, ATTR_VIA } from '../../otel/semconv.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { type Gatewatch, type StartOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import type { Serving } from '../../src/server/server.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import type { Fault } from '../../src/simulator/fault.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { collected } from '../support/collected.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { spanOfEvent } from '../support/recorded-spans.ts'
import { type OtherGateway, startOtherGateway } from './other-gateway.ts'
import { SECRETS, searchForSecrets } from './secrets.ts'

/** Everything that came out of the run, by where. */
const surfaces = new Map<string, string>()
const search = searchForSecrets()

const SURFACES = [
  'spans and metrics over OTLP',
  'spans and metrics of the other gateway over OTLP',
  '/metrics as OpenMetrics',
  '/metrics as text',
  'events',
  '/ops/data/status',
  '/ops/data/counts',
  '/ops/data/refreshes',
  '/ops/data/bypasses',
  '/ops/data/traces',
  '/ops/data/findings',
  'data of the ops page',
  'profiles()',
  'answers to clients',
  'errors with their causes',
  'faults and warnings',
  'output of the other gateway',
  'output of a gateway whose collector cannot be reached',
] as const

describe('after a run with failures of every kind', () => {
  let simulator: Simulator
  let otlp: OtlpReceiver
  let otlpOfOther: OtlpReceiver
  const stops: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    simulator = await startSimulator()
    otlp = await startOtlpReceiver()
    otlpOfOther = await startOtlpReceiver()
    stops.push(simulator.stop, otlp.stop, otlpOfOther.stop)
    await Promise.all([runGateway(simulator, otlp), runOtherGateway(otlpOfOther)])
  }, 300_000)

  afterAll(async () => {
    await Promise.all(stops.map(stop => stop()))
  })

  it.each(SURFACES)('no secret and no piece of one is in: %s', where => {
    const surface = surfaces.get(where) ?? ''
    expect(surface.length, `${where} is empty`).toBeGreaterThan(1)
    expect(search.find(surface)).toEqual([])
  })

  it('the failures did happen', () => {
    const rows = surfaces.get('events') ?? ''
    const values = (key: string) => new Set([...rows.matchAll(new RegExp(`"${key}":"([^"]*)"`, 'g'))].map(match => match[1]))
    expect([...values(ATTR_OUTCOME)]).toEqual(
      expect.arrayContaining(['rotated', 'invalidated', 'grant_expired', 'malformed', 'forbidden', 'throttled', 'unavailable', 'timeout']),
    )
    expect([...values(ATTR_ATTEMPT_OUTCOME)]).toEqual(
      expect.arrayContaining(['ok', 'auth', 'billing', 'rate_limit', 'overloaded', 'server_error', 'format', 'model_not_found']),
    )
    expect([...values(ATTR_VIA)].sort()).toEqual(['bypass', 'gate', 'uncertain', 'undeclared'])
    expect(simulator.counts().providerCalls.total).toBeGreaterThan(50)
  })
})

describe('the search', () => {
  it.each(Object.entries(SECRETS))('finds %s in clear, encoded and in pieces', (what, secret) => {
    const search = searchForSecrets()
    const padded = (encoding: 'base64' | 'base64url' | 'hex') =>
      ['', 'a', 'ab'].map(pad => Buffer.from(`${pad}${secret}zz`).toString(encoding))
    const spellings = [
      secret,
      encodeURIComponent(secret),
      JSON.stringify({ a: secret }),
      ...padded('base64'),
      ...padded('base64url'),
      ...padded('hex'),
    ]
    for (const spelling of spellings) expect(search.find(`before ${spelling} after`).join()).toContain(`${what}: `)
    if (secret.length >= 12) expect(search.find(`…${secret.slice(-12)}…`).join()).toContain(what)
    expect(search.find('a text without any')).toEqual([])
  })
})

/** Runs a gateway as `serve` would, with clients and providers at their worst. */
async function runGateway(simulator: Simulator, otlp: OtlpReceiver): Promise<void> {
  const errors: unknown[] = []
  const faults: unknown[] = []
  const onWarning = (warning: unknown) => faults.push(warning)
  process.on('warning', onWarning)
  const store = storeOf(simulator)
  const gatewatch = await startGatewatch({ ...optionsFor(simulator, otlp), store, onError: fault => faults.push(fault) })
  const serving = await serveGatewatch(gatewatch)
  const answers: string[] = []

  await askEverything(serving, simulator, answers)
  await acquireEverything(gatewatch, simulator, errors)
  await callEverything(gatewatch, errors)
  await bringYourOwn(gatewatch, simulator, errors)
  await misconfigure(simulator, errors)
  for (const { credential } of await store.list())
    if (credential.type === 'oauth')
      for (const token of [credential.access, credential.refresh, credential.idToken])
        if (token) search.add({ what: 'a token of the store', text: token })

  await readOperatorPages(serving, gatewatch)
  surfaces.set('answers to clients', answers.join('\n'))
  surfaces.set('errors with their causes', errors.map(error => inspect(error, { depth: null, showHidden: true })).join('\n'))
  await serving.stop(100)
  await gatewatch.close()
  surfaces.set('spans and metrics over OTLP', otlp.text())
  process.off('warning', onWarning)
  surfaces.set('faults and warnings', `none or some\n${faults.map(fault => inspect(fault, { depth: null })).join('\n')}`)
}

function optionsFor({ url }: Simulator, otlp: OtlpReceiver): StartOptions {
  return {
    listen: { port: 0, keysEnv: 'GATEWAY_KEYS', maxBodyBytes: 65_536 },
    providers: {
      'openai-codex': { baseUrl: `${url}/backend-api`, tokenUrl: `${url}${TOKEN_PATHS.openai}?subscription-key=${SECRETS.queryKey}` },
      openai: { baseUrl: `${url}/v1` },
      anthropic: { baseUrl: `${url}/anthropic`, tokenUrl: url + TOKEN_PATHS.anthropic },
      acme: { baseUrl: `${url}/v1`, tokenUrl: url + TOKEN_PATHS.plain, clientId: 'app', clientSecretEnv: 'ACME_CLIENT_SECRET' },
    },
    profiles: {
      'openai:main': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY' },
      'openai:odd': { provider: 'openai', apiKeyEnv: 'ODD_KEY' },
      'openai:word': { provider: 'openai', apiKeyEnv: 'WORD_KEY' },
      'openai:hex': { provider: 'openai', apiKeyEnv: 'HEX_KEY' },
      'anthropic:key': { provider: 'anthropic', apiKeyEnv: 'ANTHROPIC_KEY' },
    },
    // One token request is never answered; every other must have its answer in time on a slow machine, too.
    gate: { requestTimeoutMs: 2_000, listenMs: 2_000 },
    upstream: { headersTimeoutMs: 20_000 },
    startTelemetry: startStandaloneSdk,
    environment: {
      GATEWAY_KEYS: SECRETS.inboundKey,
      OPENAI_KEY: SECRETS.openaiKey,
      ODD_KEY: SECRETS.oddKey,
      WORD_KEY: SECRETS.wordKey,
      HEX_KEY: SECRETS.hexKey,
      ANTHROPIC_KEY: SECRETS.anthropicKey,
      ACME_CLIENT_SECRET: SECRETS.clientSecret,
      SOMETHING_ELSE: SECRETS.environment,
      OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url,
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer ${SECRETS.collectorKey}`,
      OTEL_METRIC_EXPORT_INTERVAL: '500',
      OTEL_METRIC_EXPORT_TIMEOUT: '500',
    },
  }
}

/** Profiles of every kind, good and dead ones, with names and accounts that are private. */
function storeOf(simulator: Simulator): ProfileStore {
  simulator.addApiKey(SECRETS.openaiKey, { provider: 'openai' })
  const oauth = (id: string, provider: string, changes: object = {}): StoredProfile => {
    const grant = simulator.grantFor({ provider, account: SECRETS.account, email: SECRETS.email })
    for (const token of [grant.access, grant.refresh, grant.idToken]) search.add({ what: `a token of ${provider}`, text: token })
    const { account, ...tokens } = grant
    return { id, provider, credential: { type: 'oauth', ...tokens, account, issuedAt: Date.now() - 5_000, generation: 0, ...changes } }
  }
  return memoryStore([
    oauth(`openai-codex:${SECRETS.email}`, 'openai-codex', { expiresAt: 1 }),
    oauth(`acme:${SECRETS.account}`, 'acme', { expiresAt: 1 }),
    oauth('acme:opaque', 'acme', { access: SECRETS.jwtAccess, refresh: SECRETS.opaqueRefresh, expiresAt: 1 }),
    oauth('acme:uuid', 'acme', { refresh: SECRETS.uuidRefresh }),
    oauth('anthropic:login', 'anthropic', { expiresAt: 1 }),
    { id: 'acme:static', provider: 'acme', credential: { type: 'token', token: SECRETS.staticBearer } },
    { id: 'openai:spaced', provider: 'openai', credential: { type: 'api_key', key: `${SECRETS.hexKey} ${SECRETS.wordKey}` } },
    ...Array.from({ length: SPARE_PROFILES }, (_, index) => spare(index)),
  ])
}

/** A profile that fails rests, for hours perhaps; each fault meets profiles that none has met yet. */
const SPARE_PROFILES = 400

function spare(index: number): StoredProfile {
  return { id: `openai:spare-${index}`, provider: 'openai', credential: { type: 'api_key', key: SECRETS.openaiKey } }
}

/** Every secret that a provider could hand back. */
const ECHOED = Object.values(SECRETS)

/** Answers in which a provider hands back what it was sent: as code, as text, in headers, in walls of HTML, broken. */
function* leakyAnswers(where: Fault['where'], times: number): Generator<Fault> {
  for (const secret of ECHOED) {
    yield { where, times, status: 401, body: { error: { code: secret, type: secret, message: `token ${secret} is bad`, param: secret } } }
    yield { where, times, status: 400, body: { error: secret, error_description: secret } }
  }
  const all = ECHOED.join(' ')
  const headers = {
    'x-request-id': SECRETS.opaqueRefresh,
    'request-id': SECRETS.oddKey,
    'cf-ray': SECRETS.wordKey,
    'www-authenticate': `Bearer error="${SECRETS.jwtAccess}"`,
    'set-cookie': `session=${SECRETS.cookie}`,
    'retry-after': '1',
    'x-error-code': SECRETS.staticBearer,
  }
  for (const status of [400, 401, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529]) {
    yield {
      where,
      times,
      status,
      body: `<!DOCTYPE html><html><body>${all}</body></html>`,
      headers: { ...headers, 'content-type': 'text/html' },
    }
    yield { where, times, status, body: { detail: all, error: { message: all, code: `failed_${SECRETS.wordKey}` } }, headers }
  }
  yield {
    where,
    times,
    status: 302,
    headers: { location: `http://127.0.0.1/callback?code=${SECRETS.authorizationCode}&state=${SECRETS.state}` },
  }
  yield { where, times, status: 500, body: all, hugeBodyBytes: 300_000 }
  yield { where, times, status: 200, body: `{"access_token":"${SECRETS.jwtAccess}","refresh_token":"${SECRETS.opaqueRefresh}"` }
  yield { where, times, status: 200, body: { error: SECRETS.opaqueRefresh, access_token: `${SECRETS.oddKey} \u0007` } }
  yield { where, times, status: 200, body: { access_token: 'at', token_type: SECRETS.wordKey, expires_in: SECRETS.oddKey, scope: all } }
  yield { where, times, resetBeforeCommit: true }
  yield { where, times, resetAfterCommit: true }
}

/** Clients put secrets wherever there is room. */
async function askEverything({ url }: Serving, simulator: Simulator, answers: string[]): Promise<void> {
  const headers = {
    authorization: `Bearer ${SECRETS.inboundKey}`,
    'content-type': 'application/json',
    cookie: `session=${SECRETS.cookie}`,
    'x-custom': SECRETS.customHeader,
  }
  const ask = async (path: string, body: unknown, more: Record<string, string> = {}) => {
    const sent = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await post(url + path, sent, { ...headers, ...more })
    const ours = /^x-gatewatch/
    answers.push(JSON.stringify([answer.status, Object.entries(answer.headers).filter(([name]) => ours.test(name))]))
    // What a provider said to a client's request is passed on unchanged; what we say ourselves is ours to answer for.
    if (isOurs(answer.body)) answers.push(answer.body)
  }
  const calls: [string, object][] = [
    ['/v1/chat/completions', { model: 'openai/gpt-5.5', messages: [{ role: 'user', content: SECRETS.environment }] }],
    ['/v1/chat/completions', { model: 'acme/gpt-5.5', messages: [] }],
    ['/v1/responses', { model: 'openai-codex/gpt-5.5', input: 'hello', store: false, stream: true }],
    ['/v1/messages', { model: 'anthropic/claude-sonnet-5', max_tokens: 1, messages: [] }],
  ]
  for (const [path, body] of calls) await ask(`${path}?api_key=${SECRETS.queryKey}`, body)
  for (const fault of leakyAnswers('provider', 3)) {
    simulator.inject(fault)
    await ask('/v1/chat/completions', { model: 'openai/gpt-5.5', messages: [] })
  }
  await ask('/v1/responses', { model: 'openai-codex/gpt-5.5', input: 'hello', store: false, stream: true })
  for (const name of ['token_expired_401', 'payment_required_402', 'overloaded_529', 'model_not_found_404', 'throttled_429'] as const) {
    simulator.inject({ where: 'provider', name, times: 6 })
    for (const [path, body] of calls) await ask(path, body)
  }
  for (const secret of Object.values(SECRETS)) {
    const names = [secret, `gpt-5.5-${secret}`, `Bearer ${secret}`, `https://user:${secret}@host/v1`, `x?api_key=${secret}`]
    for (const model of names)
      await ask('/v1/chat/completions', { model, messages: [] }, { 'x-gatewatch-caller': printable(model), 'user-agent': printable(model) })
    await ask(
      '/v1/chat/completions',
      { model: `openai/${secret}`, messages: [] },
      { traceparent: secret, tracestate: `a=${encodeURIComponent(secret)}`, baggage: `b=${encodeURIComponent(secret)}` },
    )
    await ask(`/v1/${encodeURIComponent(secret)}`, {})
    await ask(`/${encodeURIComponent(secret)}/v1/responses`, {})
    await ask('/v1/chat/completions', `{"model": ${secret}`)
    await ask('/v1/chat/completions', {}, { authorization: `Bearer ${secret}x` })
    await ask('/v1/chat/completions', {}, { authorization: '', 'x-api-key': `${secret}x` })
    await ask('/v1/chat/completions', secret, { 'content-encoding': 'gzip' })
  }
  await ask('/v1/responses', 'x'.repeat(100_000))
}

async function acquireEverything(gatewatch: Gatewatch, simulator: Simulator, errors: unknown[]): Promise<void> {
  const profiles = [
    `openai-codex:${SECRETS.email}`,
    `acme:${SECRETS.account}`,
    'acme:opaque',
    'acme:uuid',
    'anthropic:login',
    SECRETS.opaqueRefresh,
  ]
  const acquireAll = async (reason: 'operator' | 'forced' | 'rejected') => {
    for (const profile of profiles)
      await gatewatch
        .acquireToken({ profile, reason, rejectedToken: SECRETS.jwtAccess, timeoutMs: 5_000 })
        .catch(error => errors.push(error))
  }
  await acquireAll('forced')
  await acquireAll('rejected')
  for (const fault of leakyAnswers('token', 1)) {
    simulator.inject(fault)
    await gatewatch.acquireToken({ profile: `acme:${SECRETS.account}`, reason: 'operator' }).catch(error => errors.push(error))
  }
  simulator.inject({ where: 'token', hang: true, times: 1 })
  await gatewatch.acquireToken({ profile: 'acme:uuid', reason: 'operator' }).catch(error => errors.push(error))
  for (const name of [
    'refresh_token_expired',
    'token_expired_garbage',
    'empty_refresh',
    'invalid_client_401',
    'region_403',
    'cloudflare_html_403',
    'unavailable_503',
  ] as const) {
    simulator.inject({ where: 'token', name, times: 1 })
    await gatewatch.acquireToken({ profile: `openai-codex:${SECRETS.email}`, reason: 'operator' }).catch(error => errors.push(error))
  }
  await acquireAll('operator')
}

async function callEverything(gatewatch: Gatewatch, errors: unknown[]): Promise<void> {
  const call = (options: Partial<Parameters<Gatewatch['call']>[0]>) =>
    gatewatch
      .call({ protocol: 'chat_completions', model: 'gpt-5.5', body: { model: 'gpt-5.5', messages: [] }, ...options })
      .then(({ body }) => text(body))
      .catch(error => errors.push(error))
  for (const secret of Object.values(SECRETS)) {
    await call({ model: secret, profile: 'openai:spaced' })
    await call({ model: secret, profile: secret })
    await call({ model: `m-${secret}`, provider: secret })
  }
  const gone = new AbortController()
  gone.abort(new Error(`gone with ${SECRETS.opaqueRefresh}`))
  await call({ signal: AbortSignal.abort() })
}

/** What an application brings of its own: functions whose errors hold everything, and token requests past the gate. */
async function bringYourOwn(gatewatch: Gatewatch, simulator: Simulator, errors: unknown[]): Promise<void> {
  const hostile = (secret: string) =>
    Object.assign(new Error(`failed with ${secret}`), { name: secret, code: secret, status: 401, response: { status: 403 } })
  const tokenUrl = simulator.url + TOKEN_PATHS.openai
  for (const secret of Object.values(SECRETS)) {
    const fail = async (_account: string) => {
      throw hostile(secret)
    }
    const reading = { provider: 'acme', profile: (account: string) => account }
    // These reject with the application's own error, as they should; it is not ours to keep clean.
    await gatewatch
      .wrapRefresh(fail, { ...reading, rejectedToken: account => account, reason: () => secret as 'forced' })(secret)
      .catch(() => undefined)
    await gatewatch
      .wrapCall(fail, { ...reading, model: account => account })(secret)
      .catch(() => undefined)
    for (const operation of ['login', 'exchange', 'revoke'] as const)
      await gatewatch
        .wrapOperation(
          operation,
          fail,
          reading,
        )(secret)
        .catch(() => undefined)
    for (const body of [
      secret,
      `${secret}=`,
      `${secret}=${secret}`,
      new URLSearchParams({ grant_type: 'refresh_token', refresh_token: secret, [secret]: secret }).toString(),
      new URLSearchParams({ grant_type: 'authorization_code', code: secret, code_verifier: secret, state: secret }).toString(),
      JSON.stringify({ grant_type: secret, [secret]: { [secret]: secret }, client_secret: secret }),
    ]) {
      simulator.inject({
        where: 'token',
        times: 1,
        status: 400,
        body: { error: { code: secret, message: secret } },
        headers: { 'x-request-id': printable(secret) },
      })
      await post(`${tokenUrl}?key=${encodeURIComponent(secret)}`, body, { authorization: `Bearer ${secret}` })
    }
    simulator.inject({ where: 'token', times: 1, resetBeforeCommit: true })
    await fetch(tokenUrl, { method: 'POST', body: secret }).catch(() => undefined)
  }
  const slow = gatewatch.wrapRefresh(() => new Promise(resolve => setTimeout(resolve, 50)), {
    provider: 'acme',
    profile: () => SECRETS.email,
    timeoutMs: 1,
  })
  await slow().catch(error => errors.push(error))
}

/** Mistakes in which a secret stands where none belongs. */
async function misconfigure({ url }: Simulator, errors: unknown[]): Promise<void> {
  const withPassword = url.replace('//', `//user:${SECRETS.urlPassword}@`)
  const wrong: unknown[] = [
    { providers: { openai: { baseUrl: withPassword } } },
    { providers: { openai: { baseUrl: `${url}?key=${SECRETS.queryKey}` } } },
    { providers: { acme: { baseUrl: url, clientId: 'app', tokenUrl: `${withPassword}/token` } } },
    { providers: { acme: { baseUrl: url, clientId: 'app', tokenUrl: `http://token.example/?key=${SECRETS.queryKey}` } } },
    { providers: { openai: { baseUrl: SECRETS.openaiKey } } },
    { providers: { openai: { apiKey: SECRETS.openaiKey } } },
    { profiles: { 'openai:main': { provider: 'openai', apiKey: SECRETS.openaiKey } } },
    { profiles: { 'openai:main': SECRETS.openaiKey } },
    { profiles: { 'openai:main': { provider: SECRETS.openaiKey } } },
    { profiles: { 'openai:main': { provider: 'openai', billing: SECRETS.wordKey } } },
    ...Object.values(SECRETS).map(apiKeyEnv => ({ profiles: { 'openai:main': { provider: 'openai', apiKeyEnv } } })),
    ...Object.values(SECRETS).map(clientSecretEnv => ({ providers: { openai: { clientSecretEnv } } })),
    { listen: { host: '0.0.0.0', keys: [SECRETS.inboundKey] } },
    { gate: SECRETS.wordKey },
    { order: SECRETS.wordKey },
  ]
  for (const options of wrong)
    await startGatewatch({ ...(options as StartOptions), environment: {} }).then(
      unwanted => unwanted.close(),
      error => errors.push(error),
    )
  const short = await startGatewatch({ listen: { port: 0, keysEnv: 'KEYS' }, environment: { KEYS: `${SECRETS.cookie},short` } })
  await serveGatewatch(short).catch(error => errors.push(error))
  await short.close()
}

async function readOperatorPages({ url }: Serving, gatewatch: Gatewatch): Promise<void> {
  const read = async (path: string, accept = '*/*') => {
    const answer = await fetch(url + path, { headers: { accept, 'x-api-key': SECRETS.inboundKey } })
    expect(answer.ok, path).toBe(true)
    return answer.text()
  }
  surfaces.set('/metrics as OpenMetrics', await read('/metrics', 'application/openmetrics-text'))
  surfaces.set('/metrics as text', await read('/metrics', 'text/plain'))
  for (const name of ['status', 'counts', 'refreshes', 'bypasses', 'findings'] as const)
    surfaces.set(`/ops/data/${name}`, await read(`/ops/data/${name}`))
  const asked = ['overview', 'refreshes', 'refresh-lines', 'stacks', 'speedscope', 'bypasses', 'profiles', 'fallbacks', 'calls']
  const data = await Promise.all(asked.map(name => read(`/ops/data/${name}?window=all`)))
  const rows = (await collected(gatewatch.events.source.events())).filter(({ kind }) => kind !== 'config').map(spanOfEvent)
  surfaces.set('events', JSON.stringify(rows))
  const traces = [...new Set(rows.map(({ traceId }) => traceId))].slice(0, 200)
  const traceData = await Promise.all(traces.map(id => read(`/ops/data/traces/${id}`)))
  surfaces.set('/ops/data/traces', traceData.join('\n'))
  surfaces.set('data of the ops page', [...data, ...traceData].join('\n'))
  surfaces.set('profiles()', JSON.stringify(await gatewatch.profiles()))
}

/** Runs the adopted gateway as a process of its own; a second one sends its telemetry to a closed port, with credentials. */
async function runOtherGateway(otlp: OtlpReceiver): Promise<void> {
  const simulator = await startSimulator()
  const account = SECRETS.email
  const grant = simulator.grantFor({ provider: 'acme', account, firstAccessLifeMs: -60_000 })
  for (const token of [grant.access, grant.refresh]) search.add({ what: "a token of the other gateway's", text: token })
  const secrets = {
    SOMETHING_ELSE: SECRETS.environment,
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_METRIC_EXPORT_INTERVAL: '200',
    OTEL_METRIC_EXPORT_TIMEOUT: '200',
  }
  const collector = `http://user:${SECRETS.collectorKey}@127.0.0.1:9`
  const drive = async (gateway: OtherGateway) => {
    await gateway.chat(account)
    for (const fault of leakyAnswers('all', 1)) {
      simulator.inject(fault)
      simulator.expireAccess(account)
      await gateway.chat(account)
    }
    await gateway.quota(account)
  }
  const seen = await startOtherGateway('after.mjs', {
    simulator,
    grants: { [account]: grant },
    environment: { ...secrets, OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url, OTEL_EXPORTER_OTLP_HEADERS: `x-key=${SECRETS.collectorKey}` },
  })
  await drive(seen)
  const spans = () => otlp.spans().filter(({ name }) => name === 'GET /quota/:id').length
  while (spans() === 0) await new Promise(resolve => setTimeout(resolve, 10))
  const unseen = await startOtherGateway('after.mjs', {
    simulator,
    grants: { [account]: grant },
    environment: { ...secrets, OTEL_EXPORTER_OTLP_ENDPOINT: collector, OTEL_LOG_LEVEL: 'all', NODE_DEBUG: '' },
  })
  await unseen.chat(account)
  await unseen.quota(account)
  await new Promise(resolve => setTimeout(resolve, 500))
  await Promise.all([seen.stop(), unseen.stop(), simulator.stop()])
  surfaces.set('output of the other gateway', seen.output())
  surfaces.set('output of a gateway whose collector cannot be reached', unseen.output())
  surfaces.set('spans and metrics of the other gateway over OTLP', otlp.text())
}

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** By `node:http`: it sends what fetch refuses to. */
function post(url: string, body: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(url, { method: 'POST', headers }, answer => {
      text(answer).then(
        read => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: read }),
        () => resolve({ status: 0, headers: {}, body: '' }),
      )
    })
    outgoing.on('error', error =>
      (error as NodeJS.ErrnoException).code === 'ECONNRESET' ? resolve({ status: 0, headers: {}, body: '' }) : reject(error),
    )
    outgoing.end(body)
  })
}

/** Says whether an error is in our own words. */
function isOurs(body: string): boolean {
  return /"gatewatch_error"|"GW_[A-Z_]+|GW_[A-Z_]+:/.test(body)
}

/** What of a text a header can carry. */
function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, '')
}
