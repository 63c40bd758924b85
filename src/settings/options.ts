import * as v from 'valibot'
import { DROPPABLE_LABELS, type DroppableLabel } from '../../otel/semconv.ts'
import { BILLINGS, type Protocol } from '../domain/enums.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { DEVICE_DIALECTS } from '../providers/provider.ts'
import { FORCED_POLICIES } from '../refresh/acquire.ts'
import { PLAIN_WORD } from '../telemetry/profile-name.ts'
import { redactText } from '../telemetry/redaction-patterns.ts'
import { GATE_POLICIES } from '../watch/watch-policy.ts'
import type { SettingsInput } from './settings-input.ts'

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
  baseUrl: v.exactOptional(httpUrl),
  tokenUrl: v.exactOptional(httpUrl),
  clientId: v.exactOptional(named),
  clientSecretEnv: v.exactOptional(environmentName),
  encoding: v.exactOptional(v.picklist(['form', 'json'])),
  authorizationUrl: v.exactOptional(httpUrl),
  deviceUrl: v.exactOptional(httpUrl),
  deviceDialect: v.exactOptional(v.picklist(DEVICE_DIALECTS)),
  revocationUrl: v.exactOptional(httpUrl),
  issuer: v.exactOptional(httpUrl),
  redirectUrl: v.exactOptional(httpUrl),
  scopes: v.exactOptional(v.array(named)),
  authorizationParameters: v.exactOptional(v.record(v.string(), v.string())),
  paths: v.exactOptional(v.strictObject(v.entriesFromList(CALLED, v.exactOptional(path)))),
  modelsPath: v.exactOptional(path),
})

const PROFILE = v.strictObject({
  provider: named,
  billing: v.exactOptional(v.picklist(BILLINGS)),
  apiKeyEnv: v.exactOptional(environmentName),
  name: v.exactOptional(v.pipe(v.string(), v.regex(PLAIN_WORD, 'a word of lower-case letters, digits, "-" and "_"'))),
})

const LISTEN = v.strictObject({
  host: v.optional(named, '127.0.0.1'),
  port: v.optional(whole(0, 65_535), 8089),
  keysEnv: v.exactOptional(environmentName),
  maxBodyBytes: v.optional(whole(1024, 1_073_741_824), 33_554_432),
  maxBufferedBytes: v.exactOptional(whole(1024, 68_719_476_736)),
  requestTimeoutMs: v.optional(whole(100, 3_600_000), 60_000),
  slowClientMs: v.optional(whole(100, 3_600_000), 120_000),
  stopGraceMs: v.optional(whole(0, 3_600_000), 25_000),
})

const BUFFERED_BYTES = 268_435_456

/** Most bytes of request bodies that are held at one time. */
export function bufferedBytes({ maxBodyBytes, maxBufferedBytes }: Settings['listen']): number {
  return maxBufferedBytes ?? Math.max(BUFFERED_BYTES, maxBodyBytes)
}

const GATE = v.strictObject({
  earlyMs: v.exactOptional(whole(0, 86_400_000)),
  forced: v.exactOptional(v.picklist(FORCED_POLICIES)),
  leaseWaitMs: v.exactOptional(whole(100, 3_600_000)),
  requestTimeoutMs: v.exactOptional(whole(100, 600_000)),
  listenMs: v.exactOptional(whole(100, 3_600_000)),
  rotationGraceMs: v.exactOptional(whole(0, 86_400_000)),
  bypass: v.exactOptional(v.picklist(GATE_POLICIES)),
})

const UPSTREAM = v.strictObject({
  headersTimeoutMs: v.exactOptional(whole(10, 3_600_000)),
  bodyIdleMs: v.exactOptional(whole(10, 3_600_000)),
  connectTimeoutMs: v.exactOptional(whole(10, 600_000)),
})

const PROBE = v.strictObject({
  everyMs: v.exactOptional(whole(1_000, 86_400_000)),
})

const groupPattern = text('a regular expression with a group in parentheses', value => groupsIn(value) > 0)

/** How many groups a match of a pattern has; 0 for what is no pattern. */
function groupsIn(pattern: string): number {
  try {
    return (new RegExp(`${pattern}|`, 'u').exec('')?.length ?? 1) - 1
  } catch {
    return 0
  }
}

const DROPPABLE = Object.keys(DROPPABLE_LABELS) as DroppableLabel[]

const METRIC_LABELS = v.strictObject({
  drop: v.exactOptional(v.array(v.picklist(DROPPABLE))),
  profileGroup: v.exactOptional(groupPattern),
})

const SETTINGS = v.strictObject({
  listen: v.optional(LISTEN, {}),
  state: v.optional(named, './gatewatch-state'),
  providers: v.optional(v.record(v.string(), PROVIDER), {}),
  profiles: v.optional(v.record(v.string(), PROFILE), {}),
  order: v.exactOptional(v.array(named)),
  gate: v.optional(GATE, {}),
  fallback: v.optional(
    v.strictObject({
      metered: v.optional(v.picklist(['allow', 'deny']), 'allow'),
    }),
    {},
  ),
  upstream: v.optional(UPSTREAM, {}),
  probe: v.optional(PROBE, {}),
  labels: v.optional(METRIC_LABELS, {}),
})

/** Compiles only while the schema takes what `SettingsInput` says, no more and no less. */
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : never
true satisfies Same<v.InferInput<typeof SETTINGS>, SettingsInput>

/** Settings with their defaults. */
export type Settings = v.InferOutput<typeof SETTINGS>

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

/** The group of a profile, by the pattern of the configuration. */
export function configuredGroups({ labels: { profileGroup } }: Settings): ((profileId: string) => string | undefined) | undefined {
  if (profileGroup === undefined) return undefined
  const pattern = new RegExp(profileGroup, 'u')
  return profileId => pattern.exec(profileId)?.[1]
}
