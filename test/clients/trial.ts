import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Attributes } from '@opentelemetry/api'
import { ATTR_CALLER, ATTR_ERROR_TYPE, ATTR_REQUEST_FIELDS } from '../../otel/semconv.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { startFront } from './front.ts'

/** What came of one client under one Node and one policy. */
export interface Row {
  readonly client: string
  readonly file: string
  /** It asks a model, not for a token. */
  readonly isProviderCall: boolean
  /** What telemetry has of it: each request, in the order in which they ended. */
  readonly seen: Attributes[]
  /** Requests that came to a token endpoint of the simulator. */
  arrived: number
  /** Those of them that had anything in them: HTTP/2 sends headers before it is known what they are for. */
  arrivedWhole: number
  status?: number
  /** Codes, or else names, of the error it ended with and of its causes. */
  error?: string[]
}

export interface Trial {
  readonly rows: readonly Row[]
  /** Faults of the watch, and uncaught errors of the application. */
  readonly faults: readonly string[]
  readonly exit: number | string
  /** The version it ran on, as the process itself said. */
  readonly node: string
}

export interface TrialOptions {
  readonly policy: 'observe' | 'enforce' | 'coalesce'
  /** Whether the watch has the token URLs; else it must know a token request by its body. */
  readonly knowsUrls: boolean
  /** How many ask for the same token at once. @default 1 */
  readonly atOnce?: number
}

type Message =
  | { type: 'node'; version: string }
  | { type: 'begin'; client: string; file: string; isProviderCall: boolean }
  | { type: 'end'; client: string; status?: number; error?: string[] }
  | { type: 'seen'; attributes: Attributes }
  | { type: 'crashed'; error: string[] }

const HERE = new URL('.', import.meta.url)
/** How long the requests that were made may take to be reported, each of those that were made at once. */
const PATIENCE_MS = 3000
/** Unexpected requests are waited for this long: a retry, or one that leaves after all. */
const SETTLING_MS = 20

/** Runs every client once, under the Node of that major version, watched as the options say. */
export async function runTrial(
  major: number,
  { policy, knowsUrls, atOnce = 1 }: TrialOptions,
  certificate: { key: string; cert: string; file: string },
): Promise<Trial> {
  const simulator = await startSimulator({ rotate: 'never' })
  const front = await startFront(simulator.url, certificate)
  const { refresh } = simulator.grantFor({ provider: 'acme', account: 'acct-1' })
  for (const provider of ['openai', 'anthropic']) simulator.addApiKey(`sk-${provider}`, { provider })
  const fields = { grant_type: 'refresh_token', refresh_token: refresh, client_id: 'app_acme' }
  const urls = {
    tokenUrl: `${simulator.url}/oauth/token`,
    jsonTokenUrl: `${simulator.url}/openai/oauth/token`,
    localTokenUrl: `${simulator.url.replace('127.0.0.1', 'localhost')}/oauth/token`,
    movedTokenUrl: `${front.url}/moved/oauth/token`,
    secureTokenUrl: `${front.secureUrl}/oauth/token`,
    clearHttp2TokenUrl: `${front.clearHttp2Url}/oauth/token`,
  }
  const target = {
    ...urls,
    slowUrl: `${front.url}/slow`,
    proxyUrl: front.url,
    apiUrl: simulator.url,
    fields,
    atOnce,
    form: new URLSearchParams(fields).toString(),
  }
  const binary = fileURLToPath(new URL(`node_modules/node-${major}/bin/node`, HERE))
  const child = spawn(binary, ['--import', new URL('preload.ts', HERE).href, fileURLToPath(new URL('program.mjs', HERE))], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      GATEWATCH_TEST: JSON.stringify(target),
      GATEWATCH_POLICY: policy,
      // Nothing comes through it.
      GATEWATCH_GATE: 'theOnlyGate',
      GATEWATCH_TOKEN_URLS: knowsUrls ? Object.values(urls).join() : '',
      GATEWATCH_APIS: `openai=${simulator.url}/v1,anthropic=${simulator.url}/anthropic`,
      NODE_EXTRA_CA_CERTS: certificate.file,
    },
  })
  const rows: Row[] = []
  const faults: string[] = []
  let version = ''
  // Warnings of the clients are not looked at; a fault of the watch is a line, and so is the first refusal, which is none.
  const faultsIn = (text: string) => (text.match(/^(?:fault|gatewatch):.*$/gm) ?? []).filter(line => !line.includes(' was not sent: '))
  child.stderr?.on('data', chunk => faults.push(...faultsIn(String(chunk))))
  let before = 0
  const noteEnd = (row: Row, { status, error }: Extract<Message, { type: 'end' }>) => {
    const arrived = simulator.tokenRequests().slice(before)
    row.arrived = simulator.counts().tokenRequests.total - before
    row.arrivedWhole = arrived.filter(({ fields }) => fields.length > 0).length
    if (status !== undefined) row.status = status
    if (error) row.error = error
  }
  const on = async (message: Message) => {
    const row = rows.at(-1)
    switch (message.type) {
      case 'seen':
        return void row?.seen.push(message.attributes)
      case 'node':
        version = message.version
        return void child.send('go on')
      case 'crashed':
        faults.push(`${row?.client}: ${message.error.join(' < ')}`)
        return void child.send('go on')
      case 'begin': {
        const { type: _type, ...begun } = message
        rows.push({ ...begun, seen: [], arrived: 0, arrivedWhole: 0 })
        before = simulator.counts().tokenRequests.total
        return void child.send('go on')
      }
      case 'end': {
        const until = performance.now() + PATIENCE_MS
        while (row && row.seen.length < atOnce && performance.now() < until) await pause(5)
        await pause(SETTLING_MS)
        if (row) noteEnd(row, message)
        return void child.send('go on')
      }
      default:
        return message satisfies never
    }
  }
  child.on('message', message => void on(message as Message))
  const exit = await new Promise<number | string>(resolve => child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown')))
  front.stop()
  await simulator.stop()
  return { rows, faults, exit, node: version }
}

/** It is reported. */
export function isSeen({ seen }: Row): boolean {
  return seen.length > 0
}

/** The caller is the application's own function, in the file of the client. */
export function isCallerFound({ seen, file, isProviderCall }: Row): boolean {
  const caller = `test/clients/clients/${file.startsWith('undici-') ? 'undici-forms.mjs' : file}#${isProviderCall ? 'askTheModel' : 'refreshTheToken'}`
  return seen.length > 0 && seen.every(attributes => attributes[ATTR_CALLER] === caller)
}

/** The names of the fields of the token request were read. */
export function isShapeRead({ seen }: Row): boolean {
  return seen.length > 0 && seen.every(attributes => String(attributes[ATTR_REQUEST_FIELDS] ?? '').includes('refresh_token='))
}

/** Of several that asked at once one was sent, and each of them is reported. */
export function isShared({ arrived, seen, error }: Row): boolean {
  return arrived === 1 && seen.length > 1 && error === undefined
}

/** Nothing with a body came to the token endpoint, and both the application and telemetry know why. */
export function isTokenKept({ seen, arrivedWhole, status, error = [] }: Row): boolean {
  const isReported = seen.length > 0 && seen.every(attributes => attributes[ATTR_ERROR_TYPE] === 'GATEWATCH_BYPASS')
  return arrivedWhole === 0 && status === undefined && isReported && error.includes('GATEWATCH_BYPASS')
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
