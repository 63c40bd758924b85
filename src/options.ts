import * as v from 'valibot'
import { BILLINGS, type Protocol } from './domain/enums.ts'
import { GatewayError } from './domain/gateway-error.ts'
import { DEVICE_DIALECTS } from './providers/provider.ts'
import { FORCED_POLICIES } from './refresh/acquire.ts'
import { PLAIN_WORD } from './telemetry/profile-name.ts'
import { redactText } from './telemetry/redaction-patterns.ts'
import { GATE_POLICIES } from './watch/watch-policy.ts'

/** A message given here is what is allowed, as it stands in the error. */
function whole(least: number, most: number) {
  const allowed = `a whole number from ${least} to ${most}`
  return v.pipe(
    v.number(allowed),
    v.check(value => Number.isInteger(value) && value >= least && value <= most, allowed),
  )
}

function text(allowed: string, isAllowed: (value: string) => boolean) {
  return v.pipe(v.string(allowed), v.check(isAllowed, allowed))
}

const httpUrl = text('an http or https URL', value => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))
const environmentName = text('the name of an environment variable', value => /^[A-Za-z_][A-Za-z0-9_]*$/.test(value))
const path = text('a path that begins with a slash', value => value.startsWith('/'))
const named = text('a string that is not empty', value => value !== '')

/** `models` has its own key, since it is listed and not called. */
const CALLED = ['responses', 'chat_completions', 'messages'] as const satisfies readonly Protocol[]

const PROVIDER = v.strictObject({
  /** Base URL of the provider's API. Needed for a provider Gatewatch does not know. */
  baseUrl: v.exactOptional(httpUrl),
  /** Token endpoint of its OAuth server. */
  tokenUrl: v.exactOptional(httpUrl),
  clientId: v.exactOptional(named),
  /** Environment variable that holds the client secret, for clients that have one. */
  clientSecretEnv: v.exactOptional(environmentName),
  encoding: v.exactOptional(v.picklist(['form', 'json'])),
  /** Where a browser signs in, for `gatewatch profiles login`. */
  authorizationUrl: v.exactOptional(httpUrl),
  /** Where a code for another device comes from. */
  deviceUrl: v.exactOptional(httpUrl),
  /** How such codes are given out. @default what is built in, else 'rfc8628' */
  deviceDialect: v.exactOptional(v.picklist(DEVICE_DIALECTS)),
  /** Where a login is given back, for `gatewatch profiles logout`. */
  revocationUrl: v.exactOptional(httpUrl),
  /** Who signs the id tokens: they are checked when it is set. */
  issuer: v.exactOptional(httpUrl),
  /** Where the browser comes back. Without a port: any free one. @default what is built in, else 'http://127.0.0.1/callback' */
  redirectUrl: v.exactOptional(httpUrl),
  scopes: v.exactOptional(v.array(named)),
  /** What the provider wants in addition to in the URL that the browser opens. */
  authorizationParameters: v.exactOptional(v.record(v.string(), v.string())),
  /** Path below `baseUrl` for each wire language. */
  paths: v.exactOptional(v.strictObject(v.entriesFromList(CALLED, v.exactOptional(path)))),
  /** Path below `baseUrl` that lists the models. */
  modelsPath: v.exactOptional(path),
})

const PROFILE = v.strictObject({
  /** Id of a provider: a built-in one, or one named under `providers`. */
  provider: named,
  /** How the profile pays. @default by credential: an API key is metered, an OAuth login is a subscription */
  billing: v.exactOptional(v.picklist(BILLINGS)),
  /** Environment variable that holds the API key; without it the credential is looked up in the state folder. */
  apiKeyEnv: v.exactOptional(environmentName),
  /** What telemetry calls the profile, behind its provider. @default the id's own word if it is a plain one, else a digest */
  name: v.exactOptional(v.pipe(v.string(), v.regex(PLAIN_WORD, 'a word of lower-case letters, digits, "-" and "_"'))),
})

const LISTEN = v.strictObject({
  /** Address to bind. Anything but loopback needs `keysEnv`. @default '127.0.0.1' */
  host: v.optional(named, '127.0.0.1'),
  /** 0 picks a free port. @default 8089 */
  port: v.optional(whole(0, 65_535), 8089),
  /**
   * Environment variable that holds the keys clients and operators must show, separated by commas, each of at least 16
   * characters. Once there are keys nothing but health and the sign-in form answers without one, loopback included; the URL
   * of the token endpoint gate is then `/oauth/<provider>/token/<key>`. Needed behind a reverse proxy. @default no keys
   */
  keysEnv: v.exactOptional(environmentName),
  /** Largest request body, in bytes. @default 33_554_432 */
  maxBodyBytes: v.optional(whole(1024, 1_073_741_824), 33_554_432),
  /**
   * Most bytes of request bodies that are held at one time, in all; a request beyond it is answered 503 with `Retry-After`.
   * At least `maxBodyBytes`. @default 268_435_456, or `maxBodyBytes` where that is more
   */
  maxBufferedBytes: v.exactOptional(whole(1024, 68_719_476_736)),
  /** Longest time a client may take to send its request, in ms. @default 60_000 */
  requestTimeoutMs: v.optional(whole(100, 3_600_000), 60_000),
  /** Longest time a client may leave a full send buffer unread, in ms. @default 120_000 */
  slowClientMs: v.optional(whole(100, 3_600_000), 120_000),
  /** Longest time that requests under way get to end when the gateway stops, in ms; then they are cut. @default 25_000 */
  stopGraceMs: v.optional(whole(0, 3_600_000), 25_000),
})

const BUFFERED_BYTES = 268_435_456

/** Most bytes of request bodies that are held at one time. */
export function bufferedBytes({ maxBodyBytes, maxBufferedBytes }: Settings['listen']): number {
  return maxBufferedBytes ?? Math.max(BUFFERED_BYTES, maxBodyBytes)
}

const GATE = v.strictObject({
  /** How long before expiry a token counts as expiring, in ms. @default 120_000 */
  earlyMs: v.exactOptional(whole(0, 86_400_000)),
  /** What a forced acquisition gets when the token is still usable and was not rejected. @default 'reuse' */
  forced: v.exactOptional(v.picklist(FORCED_POLICIES)),
  /** Longest wait of a refresh for another process that refreshes the profile, in ms. @default 90_000 */
  leaseWaitMs: v.exactOptional(whole(100, 3_600_000)),
  /** How long callers wait for the token endpoint's answer, in ms; the refresh listens on. @default 20_000 */
  requestTimeoutMs: v.exactOptional(whole(100, 600_000)),
  /** How long a refresh listens for the token endpoint's answer, in ms: hanging up would lose a rotation. @default 300_000 */
  listenMs: v.exactOptional(whole(100, 3_600_000)),
  /**
   * For how long a refresh token that was rotated away still gets the current tokens at the token endpoint gate, in ms: for
   * clients that share a login and are behind. 0: not at all. @default 600_000
   */
  rotationGraceMs: v.exactOptional(whole(0, 86_400_000)),
  /** What is done about a token request that does not come through the gate. @default 'observe' */
  bypass: v.exactOptional(v.picklist(GATE_POLICIES)),
})

const UPSTREAM = v.strictObject({
  /** Longest wait for the head of an answer, in ms. @default 300_000 */
  headersTimeoutMs: v.exactOptional(whole(10, 3_600_000)),
  /** Longest pause within the body of an answer, in ms. @default 300_000 */
  bodyIdleMs: v.exactOptional(whole(10, 3_600_000)),
  connectTimeoutMs: v.exactOptional(whole(10, 600_000)),
})

const PROBE = v.strictObject({
  /** How often every profile is probed, in ms, give or take a tenth. @default never */
  everyMs: v.exactOptional(whole(1_000, 86_400_000)),
})

const SETTINGS = v.strictObject({
  listen: v.optional(LISTEN, {}),
  /** Folder of the profile store, relative to the configuration file. */
  state: v.optional(named, './gatewatch-state'),
  providers: v.optional(v.record(v.string(), PROVIDER), {}),
  profiles: v.optional(v.record(v.string(), PROFILE), {}),
  /** Profile ids in the order in which they are tried; profiles not named are not used. */
  order: v.exactOptional(v.array(named)),
  gate: v.optional(GATE, {}),
  fallback: v.optional(
    v.strictObject({
      /** Whether a call meant for a subscription may go on to a profile that is paid by use. @default 'allow' */
      metered: v.optional(v.picklist(['allow', 'deny']), 'allow'),
    }),
    {},
  ),
  upstream: v.optional(UPSTREAM, {}),
  probe: v.optional(PROBE, {}),
})

/** Settings as they are written in a configuration file: everything has a default. */
export type SettingsInput = v.InferInput<typeof SETTINGS>
/** Settings with their defaults. */
export type Settings = v.InferOutput<typeof SETTINGS>
export type ProviderOptions = v.InferOutput<typeof PROVIDER>

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1|\[::1\])$/

/** Says whether an address can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/**
 * Checks settings before anything starts. Unknown keys are refused: a misspelt policy must not be a policy that is off.
 *
 * @param source What the settings were read from, for the message: a file's path, or `options`.
 * @throws {GatewayError} `GW_CONFIG` naming source, key, the value's type and what is allowed.
 */
export function parseSettings(input: unknown, source: string): Settings {
  const result = v.safeParse(SETTINGS, input)
  const wrong = [...(result.success ? [] : result.issues.map(describeIssue)), ...arraysInPlaceOfObjects(SETTINGS, input, [])]
  if (!result.success || wrong.length > 0) throw refused(source, wrong)
  const unusable = [...repetitions(result.output), ...openDoor(result.output), ...roomForNone(result.output)]
  if (unusable.length > 0) throw refused(source, unusable)
  return result.output
}

/** The name of a variable as a message may show it: as variables are called; else the key itself may stand where the name of its variable belongs. */
export function variableName(name: string): string {
  return /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/.test(name) ? redactText(name) : '(not shown, it may be a key)'
}

/** The error for settings that cannot be used. */
export function refused(source: string, wrong: readonly string[], cause?: unknown): GatewayError {
  return new GatewayError('GW_CONFIG', `${source}: ${wrong.join('; ')}`, { next: 'fix_configuration', cause })
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const keys = (issue.path ?? []).map(({ key }) => String(key))
  const place = settingPath(keys)
  if (issue.type === 'strict_object' && issue.expected === 'never')
    return `${place}: is an unknown key; allowed: ${keysOf(schemaAt(keys.slice(0, -1))).join(', ')}`
  if (issue.received === 'undefined') return `${place}: is missing, allowed: ${allowedBy(schemaAt(keys))}`
  return `${place}: is ${typeName(issue.input)}, allowed: ${isOurs(issue) ? issue.message : allowedBy(schemaAt(keys))}`
}

/** Valibot takes an array for an object whose keys are numbers: `listen: []` would pass as `listen: {}`. */
function* arraysInPlaceOfObjects(schema: Schema | undefined, value: unknown, keys: readonly string[]): Generator<string> {
  if (!schema || typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    if (isObjectSchema(schema)) yield `${settingPath(keys)}: is an array, allowed: an object`
    return
  }
  for (const [key, child] of Object.entries(value)) yield* arraysInPlaceOfObjects(childOf(schema, key), child, [...keys, key])
}

/** What of a Valibot schema the messages need. */
interface Schema {
  readonly type?: string
  readonly expects?: string
  readonly entries?: Readonly<Record<string, Schema>>
  /** Of a record. */
  readonly value?: Schema
  /** Of an array. */
  readonly item?: Schema
  readonly wrapped?: Schema
  readonly options?: readonly unknown[]
  readonly message?: unknown
}

function schemaAt(keys: readonly string[]): Schema | undefined {
  let schema: Schema | undefined = SETTINGS
  for (const key of keys) schema = childOf(schema, key)
  return unwrap(schema)
}

function childOf(schema: Schema | undefined, key: string): Schema | undefined {
  const { entries, value, item } = unwrap(schema) ?? {}
  return entries && Object.hasOwn(entries, key) ? entries[key] : (value ?? item)
}

function unwrap(schema: Schema | undefined): Schema | undefined {
  let inner = schema
  while (inner?.wrapped) inner = inner.wrapped
  return inner
}

function isObjectSchema(schema: Schema): boolean {
  return ['strict_object', 'record'].includes(unwrap(schema)?.type ?? '')
}

function keysOf(schema: Schema | undefined): string[] {
  return Object.keys(schema?.entries ?? {})
}

function isOurs({ message }: v.BaseIssue<unknown>): boolean {
  return !message.startsWith('Invalid ')
}

function allowedBy(schema: Schema | undefined): string {
  if (schema && isObjectSchema(schema)) return 'an object'
  if (schema?.type === 'array') return 'an array of strings'
  if (schema?.options) return schema.options.map(option => JSON.stringify(option)).join(' or ')
  return typeof schema?.message === 'string' ? schema.message : (schema?.expects ?? 'nothing')
}

/** Where a value stands: `listen.port`, `profiles["a.b"].billing`. A key may be a secret or an address put in the wrong place. */
export function settingPath(keys: readonly string[]): string {
  if (keys.length === 0) return '(the whole)'
  return keys
    .map(redactText)
    .map((key, index) => (/^[\w:@-]+$/.test(key) ? `${index === 0 ? '' : '.'}${key}` : `[${JSON.stringify(key)}]`))
    .join('')
}

/** The type of a value, and a number or boolean itself; never a string, which may be a secret. */
function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'number' || typeof value === 'boolean') return `the ${typeof value} ${value}`
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function* repetitions({ order }: Settings): Generator<string> {
  for (const [index, id] of (order ?? []).entries()) {
    if (order?.indexOf(id) !== index)
      yield `order.${index}: is the string ${JSON.stringify(redactText(id))} once more, allowed: each profile once`
  }
}

function* openDoor({ listen }: Settings): Generator<string> {
  if (!isLoopback(listen.host) && !listen.keysEnv) {
    yield 'listen.host: is no loopback address, allowed: one, or listen.keysEnv beside it, naming the environment variable with the keys clients must show'
  }
}

function* roomForNone({ listen }: Settings): Generator<string> {
  const { maxBodyBytes, maxBufferedBytes } = listen
  if (maxBufferedBytes !== undefined && maxBufferedBytes < maxBodyBytes)
    yield `listen.maxBufferedBytes: is the number ${maxBufferedBytes}, allowed: at least listen.maxBodyBytes, which is ${maxBodyBytes}`
}

/** The names the operator gave to profiles. */
export function configuredNames({ profiles }: Settings): ReadonlyMap<string, string> {
  return new Map(Object.entries(profiles).flatMap(([id, { provider, name }]) => (name === undefined ? [] : [[id, `${provider}:${name}`]])))
}
