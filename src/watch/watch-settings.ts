import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { PROCESS_ROLES, type ProcessRole } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { PRESETS, type Preset } from './gate-presets.ts'
import { WATCH_POLICIES, type WatchPolicy } from './watch-policy.ts'

/** The settings of a watched process, passed in the environment by the process that starts it. */
export interface WatchSettings {
  /** Absolute state folder. @default `~/.gatewatch`, the same for every process of a user */
  readonly state: string
  /** What the process is to the profiles it uses. @default 'unknown' */
  readonly role: ProcessRole
  /** Frames of the gate, `NAME` or `file#NAME`. Without any, nothing is called a bypass. @default [] */
  readonly gate: readonly string[]
  /** Frames of the gate of a known application, likewise; its version may lack them. @default [] */
  readonly presetGate: readonly string[]
  /** Functions through which everybody comes to the gate; the first frame outside of them is the caller. @default [] */
  readonly approach: readonly string[]
  /** Files in which the application keeps its tokens: read when a token it was not seen to use is refreshed. @default [] */
  readonly credentials: readonly string[]
  /** What is done about a bypass. @default 'observe' */
  readonly policy: WatchPolicy
  /** Under `coalesce`: for how long a refresh token that was rotated away gets what came of it, in ms, a day at most. @default 600_000 */
  readonly coalesceWindowMs: number
  /** More token URLs, with the provider each belongs to. @default {} */
  readonly tokenUrls: Readonly<Record<string, string>>
  /** More base URLs of provider APIs, with their provider. @default {} */
  readonly apis: Readonly<Record<string, string>>
  /** URLs that are not looked at, nor what lies below them. @default [] */
  readonly exclude: readonly string[]
  /** Every asynchronous step is noted until then, epoch ms; see `AsyncHooksTracer` for what that costs. @default never */
  readonly deepStacksUntilMs?: number
}

/** Environment variables, as in `process.env`. */
type WatchEnvironment = Readonly<Record<string, string | undefined>>

/** Holds all settings as JSON; written by `gatewatch run`. */
export const SETTINGS_VARIABLE = 'GATEWATCH_WATCH'

/** What `gatewatch run` adds to the settings: its own pid, by which the process it starts is distinguished from that one's children. */
export interface HandedSettings extends Partial<WatchSettings> {
  readonly preset?: readonly string[]
  readonly startedBy?: number
}

/** Longest time of deep-stack mode: a forgotten one must end by itself. */
export const LONGEST_DEEP_STACKS_MS = 86_400_000
/** Minutes after a rotation in which a holder of the old token is most likely to send it. */
const DEFAULT_WINDOW_MS = 600_000
/** Tokens are kept no longer. */
export const LONGEST_WINDOW_MS = 86_400_000

const KEYS: ReadonlySet<string> = new Set([
  'state',
  'role',
  'gate',
  'policy',
  'coalesceWindowMs',
  'tokenUrls',
  'apis',
  'exclude',
  'deepStacksUntilMs',
  'credentials',
  'preset',
  'startedBy',
])

/**
 * Reads the settings of this process: `GATEWATCH_WATCH`, and in addition to it the single variables for people who write
 * `--import` by hand (`GATEWATCH_STATE`, `GATEWATCH_ROLE`, `GATEWATCH_GATE`, `GATEWATCH_PRESET`, `GATEWATCH_POLICY`,
 * `GATEWATCH_COALESCE_WINDOW_MS`, `GATEWATCH_DEEP_STACKS` for so long from the start, such as `10m`,
 * `GATEWATCH_TOKEN_URLS`, `GATEWATCH_APIS`, `GATEWATCH_EXCLUDE`, `GATEWATCH_CREDENTIALS`; lists with commas, URLs as `provider=url` or `url`). Lists are
 * joined; of a single value, the option of `gatewatch run` counts.
 *
 * @param parentPid Parent of this process; another one than the `gatewatch run` that is named means a child.
 * @throws {GatewayError} `GW_CONFIG` naming the variable and what is allowed.
 */
export function readWatchSettings(environment: WatchEnvironment, parentPid = process.ppid): WatchSettings {
  const handed = handedSettings(environment[SETTINGS_VARIABLE])
  const list = (name: string, given: readonly string[] = []) => [...given, ...words(environment[`GATEWATCH_${name}`])]
  const isChild = handed.startedBy !== undefined && handed.startedBy !== parentPid
  const role = (isChild ? 'child' : handed.role) ?? environment.GATEWATCH_ROLE ?? 'unknown'
  const policy = handed.policy ?? environment.GATEWATCH_POLICY ?? 'observe'
  const presets = list('PRESET', handed.preset)
  const deepStacksUntilMs = handed.deepStacksUntilMs ?? deepStacksUntil(environment.GATEWATCH_DEEP_STACKS)
  return {
    state: resolve(handed.state || stateFolderOf(environment)),
    role: oneOf('GATEWATCH_ROLE', role, PROCESS_ROLES),
    policy: oneOf('GATEWATCH_POLICY', policy, WATCH_POLICIES),
    coalesceWindowMs: windowOf(handed.coalesceWindowMs ?? environment.GATEWATCH_COALESCE_WINDOW_MS),
    gate: list('GATE', handed.gate),
    presetGate: presets.flatMap(name => presetOf(name).gate),
    approach: presets.flatMap(name => presetOf(name).approach),
    credentials: [...list('CREDENTIALS', handed.credentials), ...presets.flatMap(name => presetOf(name).credentials(environment))],
    tokenUrls: { ...handed.tokenUrls, ...namedUrls('GATEWATCH_TOKEN_URLS', words(environment.GATEWATCH_TOKEN_URLS)) },
    apis: { ...handed.apis, ...namedUrls('GATEWATCH_APIS', words(environment.GATEWATCH_APIS)) },
    exclude: [...(handed.exclude ?? []), ...plainUrls('GATEWATCH_EXCLUDE', words(environment.GATEWATCH_EXCLUDE))],
    ...(deepStacksUntilMs !== undefined && { deepStacksUntilMs }),
  }
}

function deepStacksUntil(text: string | undefined): number | undefined {
  if (!text?.trim()) return undefined
  const [, count = '', unit = ''] = /^(\d{1,5})([smh])$/.exec(text.trim()) ?? []
  const forMs = Number(count) * ({ s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN)
  if (!(forMs > 0 && forMs <= LONGEST_DEEP_STACKS_MS))
    throw wrong('GATEWATCH_DEEP_STACKS must be a span of time of at most a day: 30s, 10m, 1h')
  return Date.now() + forMs
}

/** URLs by provider: `provider=url`, or `url`, whose host then stands for the provider. @throws {GatewayError} `GW_CONFIG`. */
export function namedUrls(source: string, texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map(text => {
      const [, provider, url = ''] = /^(?:([a-z0-9][a-z0-9._-]{0,63})=)?(.*)$/s.exec(text) ?? []
      if (!isHttpUrl(url)) throw wrong(`${source}: must be an http or https URL, or provider=URL`)
      const { hostname } = requirePlain(source, url)
      return [url, provider ?? hostname]
    }),
  )
}

/** URLs alone. @throws {GatewayError} `GW_CONFIG`. */
export function plainUrls(source: string, texts: readonly string[]): readonly string[] {
  for (const text of texts) {
    if (!isHttpUrl(text)) throw wrong(`${source}: must be an http or https URL`)
    requirePlain(source, text)
  }
  return texts
}

function isHttpUrl(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text)
}

/**
 * Settings go into the environment of every process that is watched, and an option stands in the list of processes: a URL
 * that holds a password or a key is no URL to give here. None is needed, since requests are recognised without them.
 */
function requirePlain(source: string, text: string): URL {
  const url = new URL(text)
  if (url.username || url.password || url.search || url.hash)
    throw wrong(
      `${source}: must hold no user name, password, query or fragment: they stand in the list of processes, and requests are recognised without them`,
    )
  return url
}

/** What is known of an application. @throws {GatewayError} `GW_CONFIG` naming the presets there are. */
export function presetOf(name: string): Preset {
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined
  if (!preset) throw wrong(`preset ${JSON.stringify(name.slice(0, 40))} is not known; there are ${Object.keys(PRESETS).join(', ')}`)
  return preset
}

function handedSettings(text: string | undefined): HandedSettings {
  if (!text?.trim()) return {}
  const given = parse(text)
  const unknown = Object.keys(given).filter(key => !KEYS.has(key))
  if (unknown.length > 0) throw wrong(`${SETTINGS_VARIABLE}: ${unknown.join(', ')} is not known; there are ${[...KEYS].join(', ')}`)
  for (const key of ['gate', 'exclude', 'credentials', 'preset'] as const) requireThat(key, given[key], isTextList, 'a list of texts')
  for (const key of ['tokenUrls', 'apis'] as const) requireThat(key, given[key], isTextTable, 'an object of URLs and provider names')
  requireThat('deepStacksUntilMs', given.deepStacksUntilMs, Number.isSafeInteger, 'a moment in epoch milliseconds')
  requireThat('state', given.state, value => typeof value === 'string', 'a text')
  return given as HandedSettings
}

function parse(text: string): Record<string, unknown> {
  try {
    const given: unknown = JSON.parse(text)
    if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Record<string, unknown>
  } catch {
    // The parser quotes what it read; the line below says as much.
  }
  throw wrong(`${SETTINGS_VARIABLE} is no JSON object`)
}

function requireThat(key: string, value: unknown, holds: (value: unknown) => boolean, what: string): void {
  if (value !== undefined && !holds(value)) throw wrong(`${SETTINGS_VARIABLE}: ${key} must be ${what}`)
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

function isTextTable(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && Object.entries(value).every(([url, id]) => URL.canParse(url) && typeof id === 'string')
  )
}

function windowOf(given: unknown): number {
  if (given === undefined || given === '') return DEFAULT_WINDOW_MS
  const windowMs = Number(given)
  if (Number.isInteger(windowMs) && windowMs >= 0 && windowMs <= LONGEST_WINDOW_MS) return windowMs
  throw wrong(`GATEWATCH_COALESCE_WINDOW_MS must be a whole number from 0 to ${LONGEST_WINDOW_MS}`)
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find(word => word === value)
  if (found === undefined) throw wrong(`${name} must be one of ${allowed.join(', ')}`)
  return found
}

function words(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map(word => word.trim())
    .filter(word => word !== '')
}

function wrong(message: string): GatewayError {
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}

/** Where watched processes leave what was seen, unless they are reported otherwise. */
export function stateFolderOf(environment: WatchEnvironment): string {
  return environment.GATEWATCH_STATE || join(homedir(), '.gatewatch')
}
