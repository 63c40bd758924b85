import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import { ATTR_DECISION, ATTR_REPLAY } from '../../otel/semconv.ts'
import { isOAuth } from '../../src/domain/credential.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { runCli } from '../cli/run-cli.ts'
import { login, providersOf } from '../support/gateway-world.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { rawRequest } from '../support/raw-request.ts'
import { followedSpans } from '../support/recorded-spans.ts'
import { SECRETS, searchForSecrets } from './secrets.ts'

const GATES = ['openai-codex', 'anthropic'] as const
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const DATA = [
  'overview',
  'refreshes',
  'refresh-lines',
  'stacks',
  'speedscope',
  'bypasses',
  'profiles',
  'fallbacks',
  'calls',
  'status',
  'counts',
  'findings',
] as const
const COMMANDS = {
  'gatewatch diagnose': ['diagnose'],
  'gatewatch diagnose --json': ['diagnose', '--json'],
  'gatewatch refreshes --stack': ['refreshes', '--stack'],
  'gatewatch refreshes --json': ['refreshes', '--json'],
} as const
const SURFACES = [
  'refusals to clients',
  'faults',
  'spans and metrics over OTLP',
  'files of the recorder',
  '/metrics as OpenMetrics',
  '/metrics as text',
  ...DATA.map(name => `/ops/data/${name}`),
  '/ops/data/traces',
  ...Object.keys(COMMANDS),
]

const search = searchForSecrets()
const surfaces = new Map<string, string>()
const put = (where: string, text: string) => surfaces.set(where, `${surfaces.get(where) ?? ''}\n${text}`)

/** Who asks for tokens with secrets wherever there is room, and what all of us then say about it. */
describe('after clients of the token endpoint gate at their worst', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-canary-'))
  let simulator: Simulator

  beforeAll(async () => {
    simulator = await startSimulator()
    // One gateway for each secret: it hears only so much nonsense before it stops to listen.
    for (const secret of Object.values(SECRETS)) await besiege(simulator, folder, secret)
    for (const file of readdirSync(folder)) put('files of the recorder', readFileSync(join(folder, file), 'latin1'))
    for (const [command, parameters] of Object.entries(COMMANDS)) {
      const { stdout, stderr } = await runCli([...parameters, '--state', folder]).ended
      put(command, stdout + stderr)
    }
  }, 300_000)

  afterAll(async () => {
    await simulator.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(SURFACES)('no secret and no piece of one is in: %s', where => {
    const surface = surfaces.get(where) ?? ''
    expect(surface.length, `${where} is empty`).toBeGreaterThan(1)
    expect(search.find(surface)).toEqual([])
  })

  it('there was something to record: tokens that were current, rotated away and unknown, and refusals of the provider', () => {
    const has = (where: string, what: string) => (surfaces.get(where) ?? '').includes(what)
    for (const decision of ['lead', 'adopt', 'refuse'])
      expect(has('/ops/data/traces', `["${ATTR_DECISION}","${decision}"]`), decision).toBe(true)
    expect(has('/ops/data/traces', `["${ATTR_REPLAY}","true"]`)).toBe(true)
    expect(has('refusals to clients', 'invalid_grant')).toBe(true)
    for (const where of ['/ops/data/findings', 'gatewatch diagnose --json']) expect(has(where, '"kind":'), where).toBe(true)
    expect(simulator.counts().tokenRequests.total).toBeGreaterThan(2 * Object.keys(SECRETS).length)
  })
})

async function besiege(simulator: Simulator, folder: string, secret: string): Promise<void> {
  const otlp = await startOtlpReceiver()
  const stored = GATES.map(provider =>
    login(simulator, { provider, account: `${SECRETS.account}-${provider}-${secret}`, email: SECRETS.email, firstAccessLifeMs: -1_000 }),
  )
  const watch = await startGatewatch({
    store: memoryStore(stored),
    recordIn: folder,
    startTelemetry: startStandaloneSdk,
    processRole: 'gateway',
    listen: { port: 0 },
    providers: providersOf(simulator),
    environment: { OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url, OTEL_METRIC_EXPORT_INTERVAL: '200', OTEL_METRIC_EXPORT_TIMEOUT: '200' },
    onError: fault => put('faults', inspect(fault, { depth: null })),
  })
  put('faults', 'none or some')
  const followed = followedSpans(watch.events.source)
  const { url, stop } = await serveGatewatch(watch)

  const ask = async (path: string, body: string, headers: Record<string, string> = FORM) => {
    const answer = await rawRequest(url + path, { method: 'POST', headers, body })
    const text = answer.body.toString()
    // What is given out is what was asked for; the search knows it from here on.
    if (answer.status === 200) learn(JSON.parse(text))
    else put('refusals to clients', `${JSON.stringify(answer.headers)} ${text}`)
  }
  for (const { provider, credential } of stored) {
    const path = `/oauth/${provider}/token`
    const held = isOAuth(credential) ? (credential.refresh ?? '') : ''
    learn({ ...(isOAuth(credential) && { access: credential.access }), refresh: held })
    const everywhere = { client_id: secret, client_secret: secret, scope: secret, refresh_reason: secret, [secret]: secret }
    const named = {
      ...FORM,
      'x-gatewatch-caller': printable(secret),
      'user-agent': printable(`${secret}/${secret}`),
      cookie: `session=${SECRETS.cookie}`,
      traceparent: printable(secret),
      baggage: `b=${encodeURIComponent(secret)}`,
    }
    const refresh = (token: string, more: Record<string, string> = {}) =>
      form({ grant_type: 'refresh_token', refresh_token: token, ...more })
    for (const code of [secret, `failed_${secret}`])
      simulator.inject({
        where: 'token',
        times: 1,
        status: 503,
        body: { error: { code, type: code, message: code }, error_description: code },
        headers: { 'x-request-id': printable(secret), 'retry-after': '0' },
      })
    await ask(`${path}?api_key=${encodeURIComponent(secret)}`, refresh(held, everywhere), named)
    await watch.acquireToken({ profile: `${provider}:${SECRETS.account}-${provider}-${secret}`, reason: 'operator' }).catch(() => undefined)
    // The current one, the one that was rotated away, and the current one in JSON with nonsense beside it.
    await watch.acquireToken({ profile: `${provider}:${SECRETS.account}-${provider}-${secret}`, reason: 'operator' }).catch(() => undefined)
    await ask(path, refresh(held, everywhere), named)
    await ask(path, JSON.stringify({ grant_type: 'refresh_token', refresh_token: held, ...everywhere }), {
      'content-type': 'application/json',
    })
    for (const body of [
      refresh(secret),
      refresh(held, { grant_type: secret }),
      secret,
      `${secret}=${secret}`,
      `{"refresh_token": "${secret}"`,
    ])
      await ask(path, body, named)
    await ask(path, secret, { 'content-type': printable(secret) })
    await ask(`/oauth/${encodeURIComponent(secret)}/token`, refresh(held))
    await ask(path, refresh(held), { ...FORM, host: 'gateway.example', authorization: `Bearer ${printable(secret)}` })
    simulator.revoke(held)
    await watch.acquireToken({ profile: `${provider}:${SECRETS.account}-${provider}-${secret}`, reason: 'operator' }).catch(() => undefined)
    await ask(path, refresh(held, everywhere), named)
  }

  await readPages(url)
  const traces = new Set(followed.map(({ traceId }) => traceId))
  for (const id of traces) put('/ops/data/traces', await (await fetch(`${url}/ops/data/traces/${id}`)).text())
  await stop(100)
  await watch.close()
  put('spans and metrics over OTLP', otlp.text())
  await otlp.stop()
}

async function readPages(url: string): Promise<void> {
  const read = async (path: string, accept = '*/*') => (await fetch(url + path, { headers: { accept } })).text()
  put('/metrics as OpenMetrics', await read('/metrics', 'application/openmetrics-text'))
  put('/metrics as text', await read('/metrics', 'text/plain'))
  for (const name of DATA) put(`/ops/data/${name}`, await read(`/ops/data/${name}`))
}

function learn(tokens: Record<string, unknown>): void {
  for (const [what, text] of Object.entries(tokens))
    if (typeof text === 'string' && /access|refresh|id_token/.test(what)) search.add({ what: `${what} of a client`, text })
}

function form(fields: Record<string, string>): string {
  return new URLSearchParams(fields).toString()
}

/** What of a text a header can carry. */
function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, '')
}
