import * as v from 'valibot'
import { BILLINGS, PROTOCOLS } from '../otel/words.ts'
import { FORCED_POLICIES } from './auth/visit.ts'
import { GatewayError } from './domain/gateway-error.ts'
import { PROFILE_NAMINGS } from './telemetry/profile-name.ts'

const ms = (least: number, most: number) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most))
const httpUrl = v.pipe(
  v.string(),
  v.check(text => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'an http or https URL'),
)
const environmentName = v.pipe(v.string(), v.regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'the name of an environment variable'))

const PROVIDER = v.strictObject({
  /** Base URL of the provider's API. Needed for a provider Gatewatch does not know. */
  baseUrl: v.exactOptional(httpUrl),
  /** Token endpoint of its OAuth server. */
  tokenUrl: v.exactOptional(httpUrl),
  clientId: v.exactOptional(v.string()),
  /** Environment variable that holds the client secret, for clients that have one. */
  clientSecretEnv: v.exactOptional(environmentName),
  encoding: v.exactOptional(v.picklist(['form', 'json'])),
  /** Path below `baseUrl` for each wire language. */
  paths: v.exactOptional(v.strictObject(v.entriesFromList(PROTOCOLS, v.exactOptional(v.string())))),
  modelsPath: v.exactOptional(v.string()),
})

const PROFILE = v.strictObject({
  provider: v.string(),
  /** How the profile pays. @default by credential: an API key is metered, an OAuth login is a subscription */
  billing: v.exactOptional(v.picklist(BILLINGS)),
  /** Environment variable that holds the API key; without it the credential is looked up in the state folder. */
  apiKeyEnv: v.exactOptional(environmentName),
})

const LISTEN = v.strictObject({
  /** Address to bind. Anything but loopback needs `keysEnv`. @default '127.0.0.1' */
  host: v.optional(v.string(), '127.0.0.1'),
  /** 0 picks a free port. @default 8089 */
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)), 8089),
  /** Environment variable that holds the API keys clients must show, separated by commas. */
  keysEnv: v.exactOptional(environmentName),
  /** Largest request body, in bytes. @default 33_554_432 */
  maxBodyBytes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1024), v.maxValue(1_073_741_824)), 33_554_432),
  /** Longest time a client may take to send its request, in ms. @default 60_000 */
  requestTimeoutMs: v.optional(ms(100, 3_600_000), 60_000),
  /** Longest time a client may leave a full send buffer unread, in ms. @default 120_000 */
  stalledClientMs: v.optional(ms(100, 3_600_000), 120_000),
})

const GATE = v.strictObject({
  /** How long before expiry a token counts as expiring, in ms. @default 120_000 */
  earlyMs: v.exactOptional(ms(0, 86_400_000)),
  /** What a forced visit gets when the token is still usable and was not rejected. @default 'reuse' */
  forced: v.exactOptional(v.picklist(FORCED_POLICIES)),
  leaseWaitMs: v.exactOptional(ms(100, 3_600_000)),
  requestTimeoutMs: v.exactOptional(ms(100, 600_000)),
})

const UPSTREAM = v.strictObject({
  /** Longest wait for the head of an answer, in ms. @default 300_000 */
  headersTimeoutMs: v.exactOptional(ms(10, 3_600_000)),
  /** Longest pause within the body of an answer, in ms. @default 300_000 */
  bodyIdleMs: v.exactOptional(ms(10, 3_600_000)),
  connectTimeoutMs: v.exactOptional(ms(10, 600_000)),
})

const SETTINGS = v.strictObject({
  listen: v.optional(LISTEN, {}),
  /** Folder of the profile store, relative to the configuration file. */
  state: v.optional(v.string(), './gatewatch-state'),
  providers: v.optional(v.record(v.string(), PROVIDER), {}),
  profiles: v.optional(v.record(v.string(), PROFILE), {}),
  /** Profile ids in the order in which they are tried; profiles not named are not used. */
  order: v.exactOptional(v.array(v.string())),
  gate: v.optional(GATE, {}),
  fallback: v.optional(
    v.strictObject({
      /** Whether a call meant for a subscription may go on to a profile that is paid by use. @default 'allow' */
      metered: v.optional(v.picklist(['allow', 'deny']), 'allow'),
    }),
    {},
  ),
  upstream: v.optional(UPSTREAM, {}),
  telemetry: v.optional(
    v.strictObject({
      /** How profile ids appear in telemetry. @default 'hashed' */
      profileNames: v.optional(v.picklist(PROFILE_NAMINGS), 'hashed'),
    }),
    {},
  ),
})

/** Settings as they are written in a configuration file: everything has a default. */
export type SettingsInput = v.InferInput<typeof SETTINGS>
/** Settings with their defaults. */
export type Settings = v.InferOutput<typeof SETTINGS>
export type ProviderSettings = v.InferOutput<typeof PROVIDER>

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
  if (!result.success) throw refused(source, result.issues.map(describeIssue))
  const wrong = [...wrongReferences(result.output), ...openDoor(result.output)]
  if (wrong.length > 0) throw refused(source, wrong)
  return result.output
}

/** The error for settings that cannot be used. */
export function refused(source: string, wrong: readonly string[]): GatewayError {
  return new GatewayError('GW_CONFIG', `${source}: ${wrong.join('; ')}`, { next: 'fix_configuration' })
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? '(the whole)'
  if (issue.type === 'strict_object' && issue.expected === 'never') return `${path}: unknown key; allowed here: ${allowedKeys(issue)}`
  if (issue.received === 'undefined') return `${path}: missing; allowed: ${expectation(issue)}`
  return `${path}: is ${typeName(issue.input)}, allowed: ${expectation(issue)}`
}

function expectation(issue: v.BaseIssue<unknown>): string {
  return issue.type === 'check' || issue.type === 'regex' ? issue.message : (issue.expected ?? issue.message)
}

/** The keys of the object an unknown key was found in: walked down from the top, since an issue does not name them. */
function allowedKeys(issue: v.BaseIssue<unknown>): string {
  let schema: unknown = SETTINGS
  for (const step of (issue.path ?? []).slice(0, -1)) schema = childOf(unwrap(schema), String(step.key))
  const { entries = {} } = unwrap(schema) as { entries?: object }
  return Object.keys(entries).join(', ')
}

function unwrap(schema: unknown): unknown {
  let inner = schema
  while (typeof inner === 'object' && inner !== null && 'wrapped' in inner) inner = inner.wrapped
  return inner
}

function childOf(schema: unknown, key: string): unknown {
  const { entries, value } = schema as { entries?: Record<string, unknown>; value?: unknown }
  return entries?.[key] ?? value
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'number' || typeof value === 'boolean' ? `${typeof value} ${value}` : typeof value
}

function* wrongReferences({ profiles, order }: Settings): Generator<string> {
  for (const [id, { provider }] of Object.entries(profiles)) {
    if (provider === '') yield `profiles.${id}.provider: is empty, allowed: the id of a provider`
  }
  const twice = order?.find((id, index) => order.indexOf(id) !== index)
  if (twice !== undefined) yield `order: names profile ${twice} twice; each may stand once`
}

function* openDoor({ listen }: Settings): Generator<string> {
  if (!isLoopback(listen.host) && !listen.keysEnv) {
    yield `listen.host: is not a loopback address, so listen.keysEnv must name the environment variable with the keys clients must show`
  }
}
