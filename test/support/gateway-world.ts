import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { prometheusName } from '../../otel/prometheus-name.ts'
import { METRICS, type MetricKey } from '../../otel/semconv.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { type Gatewatch, type StartOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import type { GrantOptions } from '../../src/simulator/grants.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { EventSpan } from '../../src/telemetry/event-span.ts'
import { afterwards } from './clean-up.ts'
import { type ParsedSample, parseOpenMetrics } from './open-metrics-parser.ts'
import { followedSpans } from './recorded-spans.ts'

/** Runs `end` after the test, before what was begun earlier is ended. */
export const atTheEnd: (end: () => Promise<unknown>) => void = afterwards

/** Keys the simulator of every world accepts. */
export const OPENAI_KEY = 'sk-simulated-openai-0001'
export const ANTHROPIC_KEY = 'sk-ant-simulated-0001'

/** Options that make the gateway of a world; `providers` and `environment` are added to those of the simulator. */
export interface GatewayWorldOptions extends Omit<StartOptions, 'listen' | 'providers'> {
  listen?: StartOptions['listen']
  providers?: StartOptions['providers'] | ((simulator: Simulator) => StartOptions['providers'])
  /** Profiles in the store. Made by `codexLogin` and the like, once the simulator stands. */
  stored?: (simulator: Simulator) => readonly StoredProfile[]
  simulated?: SimulatorOptions
}

/** What a request was answered with, read whole. */
export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: answers of three wire languages are looked into field by field
  readonly json: any
}

/** A simulator and a gateway in front of it that listens on a free port; both are stopped after the test. */
export async function gatewayWorld({ stored = () => [], simulated, listen, providers, ...options }: GatewayWorldOptions = {}) {
  const simulator = await startSimulator(simulated)
  atTheEnd(() => simulator.stop())
  simulator.addApiKey(OPENAI_KEY, { provider: 'openai', account: 'key' })
  simulator.addApiKey(ANTHROPIC_KEY, { provider: 'anthropic', account: 'key' })
  const store = options.store ?? memoryStore(stored(simulator))
  const watch = await startGatewatch({
    source: 'gateway.json',
    ...options,
    store,
    listen: { port: 0, ...listen },
    providers: { ...providersOf(simulator), ...(typeof providers === 'function' ? providers(simulator) : providers) },
    environment: { OPENAI_KEY, ANTHROPIC_KEY, ...options.environment },
  })
  atTheEnd(() => watch.close())
  const telemetry = observed(watch)
  const serving = await serveGatewatch(watch)
  atTheEnd(() => serving.stop(0))

  const ask = async (path: string, init: RequestInit = {}): Promise<Answered> => read(await fetch(serving.url + path, init))
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) => ask(path, posted(body, headers))
  const chat = (body: object = {}, headers: Record<string, string> = {}) =>
    post('/v1/chat/completions', { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }], ...body }, headers)
  const responses = (body: object = {}, headers: Record<string, string> = {}) =>
    post('/v1/responses', { model: 'gpt-5.5', input: 'hello', store: false, ...body }, headers)
  return { simulator, store, watch, serving, url: serving.url, ask, post, chat, responses, ...telemetry }
}

export type GatewayWorld = Awaited<ReturnType<typeof gatewayWorld>>

/** What telemetry of a gateway says from now on. */
export function observed(watch: Gatewatch) {
  const followed = followedSpans(watch.events.source)
  const spans = (name?: string): EventSpan[] =>
    followed.filter(span => name === undefined || span.name === name).sort((a, b) => a.startMs - b.startMs)
  /** The series of a metric; of a histogram its counts. */
  const series = async (key: MetricKey): Promise<ParsedSample[]> => {
    const name = prometheusName(METRICS[key])
    const families = parseOpenMetrics((await watch.metrics('application/openmetrics-text')).body)
    const wanted = METRICS[key].kind === 'histogram' ? `${name}_count` : name
    return families.flatMap(({ samples }) => samples).filter(sample => sample.name === wanted)
  }
  const labels = async (key: MetricKey) => (await series(key)).map(sample => sample.labels)
  /** Waits until a span of that name has ended: the server's ends a moment after the client has its answer. */
  const spanned = async (name: string): Promise<EventSpan> =>
    eventually(() => {
      const [span] = spans(name)
      if (!span) throw new Error(`no span is called ${name}; there are: ${spans().map(({ name: other }) => other)}`)
      return span
    })
  return { spans, spanned, series, labels }
}

/** What the settings say about the providers that the simulator plays. */
export function providersOf({ url }: Simulator): NonNullable<StartOptions['providers']> {
  return {
    openai: { baseUrl: `${url}/v1` },
    'openai-codex': { baseUrl: `${url}/backend-api`, tokenUrl: url + TOKEN_PATHS.openai },
    anthropic: { baseUrl: `${url}/anthropic`, tokenUrl: url + TOKEN_PATHS.anthropic },
  }
}

/** A provider that a test writes itself, on a port of its own. @returns its base URL */
export async function providerOf(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  atTheEnd(
    () =>
      new Promise<void>(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An API key at OpenAI, by the name of the environment variable that holds it. */
export const OPENAI_PROFILE = { 'openai:default': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY' } } as const
export const ANTHROPIC_PROFILE = { 'anthropic:default': { provider: 'anthropic', apiKeyEnv: 'ANTHROPIC_KEY' } } as const

/** A profile with a login at the ChatGPT backend. */
export function codexLogin(simulator: Simulator, account: string, options: Partial<GrantOptions> = {}): StoredProfile {
  return login(simulator, { provider: 'openai-codex', account, ...options })
}

/** A profile with an OAuth login; of the account, it is named `<provider>:<account>`. */
export function login(simulator: Simulator, options: GrantOptions): StoredProfile {
  const { access, refresh, expiresAt, account } = simulator.grantFor(options)
  const { provider } = options
  return { id: `${provider}:${account}`, provider, credential: { type: 'oauth', access, refresh, expiresAt, account, generation: 0 } }
}

/** A profile with a key that is kept in the store. */
export function storedKey(id: string, key: string, provider = id.split(':')[0] ?? id): StoredProfile {
  return { id, provider, credential: { type: 'api_key', key } }
}

/** Shorter than what a test may take, so that it ends with what was wrong; far longer than a slow machine needs. */
const LONGEST_WAIT_MS = 20_000

/**
 * Tries until `look` no longer throws; what it gives then. A look is often a whole call, so the longer a state takes, the rarer the looks:
 * a fifth of the time waited so far apart.
 */
export async function eventually<T>(look: () => T | Promise<T>, longestMs = LONGEST_WAIT_MS): Promise<T> {
  const start = performance.now()
  for (;;) {
    try {
      return await look()
    } catch (error) {
      const waited = performance.now() - start
      if (waited >= longestMs) throw error
      await new Promise(resolve => setTimeout(resolve, Math.max(10, waited / 5)))
    }
  }
}

export function posted(body: unknown, headers: Record<string, string> = {}): RequestInit {
  const content = typeof body === 'string' || Buffer.isBuffer(body) ? new Uint8Array(Buffer.from(body)) : JSON.stringify(body)
  return { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: content }
}

export async function read(response: Response): Promise<Answered> {
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: parse(text) }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
