import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER_KIND,
  ATTR_HTTP_ROUTE,
  ATTR_OUTCOME,
  ATTR_PROCESS_ROLE,
  ATTR_REASON_DECLARED,
  ATTR_REQUEST_HEADERS,
  ATTR_REQUEST_SCOPES,
  ATTR_SIDE_CHANNEL,
  METRICS,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { SECRETS, searchForSecrets } from '../e2e/secrets.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { REGISTER } from '../support/own-programs.ts'
import { bytesIn, type Job, refreshesIn, spansIn, startNode, watched, watchingEnvironment } from './watched.ts'
import { startServer } from './world.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/watched/${name}`, import.meta.url))

describe('a guest in the process', () => {
  it("passes what it sees to the host's own OpenTelemetry, in the host's trace; nothing is registered or sent along", async () => {
    const { url, received } = await startServer((response, { headers }) =>
      response.end(JSON.stringify({ ...headers, access_token: 'at', refresh_token: 'rt' })),
    )
    const state = stateFolder()
    const environment = { NODE_OPTIONS: `--import=${REGISTER}`, GATEWATCH_STATE: state, GATEWATCH_GATE: 'none' }
    const { code, stdout, stderr } = await startNode([fixture('with-opentelemetry.mjs'), url], environment).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { isRegistered, spans, names } = JSON.parse(stdout)
    expect(isRegistered).toEqual([true, true, true])
    const [turn, refresh, ...others] = spans
    expect([turn.name, refresh.name, others]).toEqual(['turn', SPAN_REFRESH, []])
    expect(refresh).toMatchObject({ traceId: turn.traceId, parentSpanId: turn.spanId, attributes: { [ATTR_OUTCOME]: 'rotated' } })
    expect(names).toContain(METRICS.refreshDuration.name)
    const [first, second] = spansIn(state)
    expect(first?.parentSpanId).toBeUndefined()
    expect(second).toMatchObject({ name: SPAN_REFRESH, traceId: turn.traceId, spanId: refresh.spanId, parentSpanId: turn.spanId })
    for (const { headers } of received) expect(Object.keys(headers)).not.toContain('traceparent')
  })

  it('sends spans and metrics where OTEL_* says, the same spans that are recorded, and does not watch itself doing so', async () => {
    const receiver = await startOtlpReceiver()
    afterwards(() => receiver.stop())
    const { url } = await startServer()
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }
    const job: Job = { url: `${url}/token`, tokens: { refresh: 'a-refresh-token' }, steps: [['gate'], ['bypass']] }
    const { code, spans, stderr } = await watched(job, { environment, settings: { role: 'gateway' } })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const sent = receiver.spans()
    expect(sent.map(({ spanId }) => spanId).sort()).toEqual(spans.map(({ spanId }) => spanId).sort())
    expect(sent).toHaveLength(2)
    for (const { name, resource } of sent) expect([name, resource[ATTR_PROCESS_ROLE]]).toEqual([SPAN_REFRESH, 'gateway'])
    const metrics = receiver.metrics().map(({ name }) => name)
    expect(metrics).toEqual(expect.arrayContaining([METRICS.refreshDuration.name, METRICS.bypasses.name]))
  })

  it('shows no secret that the application sent or got, nowhere', async () => {
    const granted = { access_token: SECRETS.jwtAccess, refresh_token: SECRETS.uuidRefresh, id_token: SECRETS.staticBearer, expires_in: 60 }
    const { url } = await startServer((response, { path }) => {
      if (path.startsWith('/refused')) response.writeHead(401, { 'content-type': 'application/json', 'x-request-id': SECRETS.hexKey })
      else response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': SECRETS.cookie })
      response.end(
        JSON.stringify(path.startsWith('/refused') ? { error: { code: SECRETS.opaqueRefresh, message: SECRETS.email } } : granted),
      )
    })
    const receiver = await startOtlpReceiver()
    afterwards(() => receiver.stop())
    const state = stateFolder()
    const script = `
      const s = ${JSON.stringify(SECRETS)}, url = ${JSON.stringify(url)}
      const form = fields => ({ method: 'POST', headers: { [s.customHeader]: s.customHeader, cookie: s.cookie, 'x-api-key': s.oddKey },
        body: new URLSearchParams({ grant_type: 'refresh_token', client_secret: s.clientSecret, scope: s.wordKey, [s.state]: s.state, ...fields }) })
      const refresh = (path, refresh_token, more) => fetch(url + path + '?key=' + s.queryKey, form({ refresh_token, ...more })).then(a => a.text())
      const call = (path, key) => fetch(url + path + '?key=' + s.queryKey, { method: 'POST', headers: { authorization: 'Bearer ' + key, 'content-type': 'application/json' },
        body: JSON.stringify({ model: s.anthropicKey, input: s.inboundKey }) }).then(a => a.text())
      await call('/api/chat/completions', s.staticBearer); await call('/api/' + s.openaiKey, s.openaiKey); await call('/refused/chat/completions', s.hexKey)
      await refresh('/token', s.opaqueRefresh, { code: s.authorizationCode, code_verifier: s.codeVerifier }); await refresh('/refused/token', s.uuidRefresh, { refresh_reason: s.wordKey })
      await fetch(url + '/elsewhere/' + s.hexKey, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ grant_type: s.wordKey, refresh_token: s.wordKey }) }).then(a => a.text())`
    const environment = {
      ...watchingEnvironment(state, { url: `${url}/token`, api: `${url}/api`, steps: [] }, { gate: ['none'] }),
      GATEWATCH_TOKEN_URLS: `acme=${url}/refused/token`,
      GATEWATCH_APIS: `acme=${url}/refused`,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      SOME_KEY: SECRETS.environment,
    }
    const { code, stderr } = await startNode(['--input-type=module', '--eval', script], environment).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(spansIn(state)).toHaveLength(6)
    expect(receiver.spans()).toHaveLength(6)
    const search = searchForSecrets()
    for (const [what, text] of Object.entries(SECRETS)) search.add({ what, text: text.toLowerCase() })
    expect(search.find(bytesIn(state))).toEqual([])
    expect(search.find(receiver.text())).toEqual([])
  })

  it('names the inbound request where the stack is cut, what the client declared, and the whole shape', async () => {
    const { url } = await startServer()
    const state = stateFolder()
    const environment = { NODE_OPTIONS: `--import=${REGISTER}`, GATEWATCH_STATE: state }
    const { code, stderr } = await startNode([fixture('gateway.cjs'), `${url}/anything`], environment).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [span] = spansIn(state)
    expect(refreshesIn(state)).toMatchObject([{ caller: 'GET /v1/chat/:id', via: 'undeclared', provider: '127.0.0.1' }])
    expect(span?.attributes).toMatchObject({
      [ATTR_CALLER_KIND]: 'client',
      [ATTR_HTTP_ROUTE]: 'GET /v1/chat/:id',
      [ATTR_OUTCOME]: 'renewed',
      [ATTR_REASON_DECLARED]: 'scheduled',
      [ATTR_REQUEST_SCOPES]: 'email openid',
    })
    expect(span?.attributes[ATTR_REQUEST_HEADERS]).toMatch(/\bcontent-type\b/)
  })

  it('counts what leaves by other ways than HTTP clients: a child that is no Node, a raw socket', async () => {
    const { url } = await startServer()
    const { port } = new URL(url)
    const state = stateFolder()
    const environment = watchingEnvironment(state, { url: `http://localhost:${port}/token`, steps: [] })
    const { code, stderr } = await startNode([fixture('side-channel.mjs'), port], environment).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const doors = spansIn(state).flatMap(({ attributes }) => attributes[ATTR_SIDE_CHANNEL] ?? [])
    expect(doors).toEqual(['child', 'socket'])
    expect(refreshesIn(state)).toHaveLength(1)
  })

  it('loads no package, neither when it begins nor when it has something to record: nothing of OpenTelemetry', async () => {
    const { url } = await startServer()
    const note =
      "import { registerHooks } from 'node:module'; globalThis.loaded = []; registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })"
    const packages = '[...new Set(loaded.flatMap(url => /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1] ?? []))]'
    const script = `
      const before = ${packages}
      await (await fetch('${url}/token', { method: 'POST', body: 'grant_type=refresh_token&refresh_token=a-token' })).text()
      await new Promise(resolve => setTimeout(resolve, 100))
      console.log(JSON.stringify([loaded.length > 5, before, ${packages}]))`
    const environment = {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(note)} --import=${REGISTER}`,
      GATEWATCH_STATE: stateFolder(),
    }
    const { stdout, stderr } = await startNode(['--input-type=module', '--eval', script], environment).ended
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual([true, [], []])
  })

  it('does not delay the exit of a process: an absent collector holds none open', async () => {
    const { url } = await startServer()
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_TRACES_EXPORTER: 'otlp' }
    const job: Job = { url: `${url}/token`, tokens: { refresh: 'a-refresh-token' }, steps: [['gate'], ['exit', 5]] }
    const { code, stderr, refreshes } = await watched(job, { environment })
    expect({ code, stderr }).toEqual({ code: 5, stderr: '' })
    expect(refreshes).toHaveLength(1)
  })
})

describe('a bundled and minified application', () => {
  it('is watched like any other; its gate is found by its name, where the bundler keeps names', async () => {
    const { url } = await startServer()
    const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bundle-'))
    afterwards(() => rmSync(folder, { recursive: true, force: true }))
    const { build } = await import('rolldown')
    await build({
      input: fixture('application.mjs'),
      platform: 'node',
      logLevel: 'silent',
      output: { file: join(folder, 'app.mjs'), minify: true, keepNames: true, codeSplitting: false },
    })
    for (const client of ['fetch', 'undici', 'http'] as const) {
      const job: Job = { url: `${url}/token`, client, tokens: { refresh: `a-refresh-token-${client}` }, steps: [['gate'], ['bypass']] }
      const { code, stderr, refreshes } = await watched(job, { application: join(folder, 'app.mjs') })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(refreshes.map(({ via }) => via)).toEqual(['gate', 'bypass'])
      for (const { file } of refreshes) expect(file).toMatch(/app\.mjs$/)
    }
  })
})
