import { Readable } from 'node:stream'
import { readMapOfCaller, takeCallerSite } from '../callers/caller.ts'
import { AnswerStream, type CallAnswer } from '../calls/answer-stream.ts'
import type { BeginCallOptions, BegunCall } from '../calls/begun-call.ts'
import { callBody } from '../calls/call-body.ts'
import type { CallRequest, CallSink } from '../calls/call-request.ts'
import type { CooldownNote, FallbackNote, LoginNote, LogoutNote } from '../calls/notes.ts'
import { sentHeaders } from '../calls/passed-headers.ts'
import type { ProbeResult } from '../calls/probe.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import type { ReadProfiles } from '../calls/reported-profiles.ts'
import type { WatchedFetchOptions } from '../calls/watched-fetch.ts'
import type { WrapCallOptions } from '../calls/wrap-call.ts'
import type { ProcessRole, Protocol, RefreshReason } from '../domain/enums.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { AnyFunction, AsyncFunction } from '../domain/wrapped-function.ts'
import { EventStore } from '../events/event-store.ts'
import type { WrapOperationOptions, WrappedOperation } from '../login/wrap-operation.ts'
import { bindPermit } from '../providers/permit.ts'
import type { AcquireResult } from '../refresh/acquire.ts'
import { checkedDeadline } from '../refresh/wait.ts'
import type { WrapRefreshOptions } from '../refresh/wrap-refresh.ts'
import { configuredGroups, configuredNames, parseSettings, refused, type Settings } from '../settings/options.ts'
import type { LabelSettings, SettingsInput } from '../settings/settings-input.ts'
import { memoryStore } from '../store/memory-store.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { ClusterMetrics } from '../telemetry/cluster-metrics.ts'
import { type EmbeddedTelemetry, type EmbeddedTelemetryOptions, startEmbeddedTelemetry } from '../telemetry/embedded-telemetry.ts'
import { FaultReporter } from '../telemetry/fault-reporter.ts'
import { joinProcess, type Membership } from '../telemetry/gatewatches.ts'
import { unseenApi } from '../telemetry/host-tracer.ts'
import { formatOf, mergeExposition } from '../telemetry/merge-exposition.ts'
import { CONTENT_TYPES } from '../telemetry/metrics-negotiation.ts'
import type { OnDropped } from '../telemetry/redaction-processor.ts'
import type { MetricsAnswer, RunningTelemetry } from '../telemetry/running-telemetry.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { scanMembers, scannedTrue } from '../tools/json-object.ts'
import { runSteps, type Step } from '../tools/run-guarded.ts'
import { Gateway } from './gateway.ts'
import { RecordedEvents } from './recorded-events.ts'

/** Everything `createGatewatch` takes: settings as in a configuration file, and what only code can give. All of it is optional. */
export interface GatewatchOptions extends Omit<SettingsInput, 'state' | 'listen' | 'labels'> {
  /** Where profiles live; it stays open when Gatewatch stops. Without one Gatewatch instruments what you bring and keeps nothing. */
  store?: ProfileStore
  /** State folder in which events are kept, together with those of watched processes: `gatewatch diagnose --state` reads them. */
  recordIn?: string
  /**
   * Receives faults of Gatewatch itself and of the callbacks it was given, once for each kind, with what failed, such as
   * `the option wrapRefresh.profile`; `diag` of OpenTelemetry gets a line too. The application runs on. @default one process warning
   */
  onError?: (fault: unknown, place?: string) => void
  /** Labels of metrics, and names of profiles. */
  labels?: LabelOptions
}

/**
 * Labels of metrics, where there are many users. Spans, events, the ops page and `gatewatch diagnose` keep everything. Callbacks are
 * called once for each profile while they are in use; one that throws is reported once, and counts as if it returned `undefined`.
 *
 * @example
 * import { createGatewatch } from 'gatewatch'
 *
 * export const watch = await createGatewatch({ labels: { drop: ['caller'], profileGroup: id => id.split('/')[0] } })
 */
export interface LabelOptions extends Omit<LabelSettings, 'profileGroup'> {
  /**
   * Metrics have groups of profiles instead of profiles: by the id of the profile, or a regular expression whose first group in
   * parentheses is the group, in the id. `undefined` becomes `_other`. @default no groups
   */
  profileGroup?: string | ((profileId: string) => string | undefined)
  /**
   * What spans, events and metrics call a profile, by its id. A name that may be a secret or an e-mail address is not used.
   * @default `name` of the configuration, else the id's own word if it is a plain one, else a digest
   */
  profileName?: (profileId: string) => string | undefined
}

/**
 * What a process of this package sets in addition, and a gateway its `listen`.
 *
 * @internal
 */
export interface StartOptions extends GatewatchOptions {
  listen?: SettingsInput['listen']
  /** Where API keys, client secrets and `OTEL_*` variables are looked up. @default process.env */
  environment?: NodeJS.ProcessEnv
  /** What the options were read from, for messages. @default 'options' */
  source?: string
  processRole?: ProcessRole
  /** Starts the telemetry of a process that is ours. @default OpenTelemetry is the application's */
  startTelemetry?: (
    options: Omit<EmbeddedTelemetryOptions, 'environment'> & { environment: NodeJS.ProcessEnv },
  ) => Promise<RunningTelemetry>
}

/** A provider call made in code. */
export interface CallOptions {
  protocol: Protocol
  /** The model as telemetry and messages name it; the provider reads it from the body. */
  model: string
  /** An object, which becomes JSON; or JSON as a string or as bytes, sent as they are. Bytes are not copied: leave them alone until the answer is there. */
  body?: string | object
  headers?: Record<string, string>
  /** Only profiles of this provider may serve. */
  provider?: string
  /** Only this profile may serve. */
  profile?: string
  signal?: AbortSignal
}

/** What a scrape gets beside our metrics. */
export interface MetricsOptions {
  /**
   * Metrics of another registry of the process, as text: `await register.metrics()` of prom-client, or what the Prometheus exporter
   * of OpenTelemetry writes. @default none
   */
  others?: string
}

/** An acquisition made in code. */
export interface AcquireTokenOptions {
  profile: string
  reason: RefreshReason
  /** Access token the provider rejected; a stored token that is another one is newer, and comes back without a refresh. */
  rejectedToken?: string
  signal?: AbortSignal
  /** Longest wait for a refresh, in ms; 0 takes a token that is there, and else rejects with `GW_ACQUIRE_TIMEOUT` while the refresh goes on. @default 60_000 */
  timeoutMs?: number
}

/**
 * What a Gatewatch is made of.
 *
 * @internal
 */
interface Parts {
  readonly gateway: Gateway
  readonly sdk: RunningTelemetry
  readonly events: EventStore
  /** Answers scrapes for all processes of a cluster; none for a program that is ours. */
  readonly cluster: ClusterMetrics | undefined
  readonly settings: Settings
  readonly environment: NodeJS.ProcessEnv
  readonly source: string
  /** Ends what was started, last come first. */
  readonly stopSteps: readonly Step[]
}

/**
 * What ends with the Gatewatch it belongs to: a server, a page.
 *
 * @internal
 */
interface Attached {
  stop(graceMs?: number): unknown
}

/** Gauges are renewed this often for exporters that push; a scrape renews them itself. */
const GAUGES_EVERY_MS = 15_000

/** Each option of `createGatewatch`. */
const EMBEDDED = Object.keys({
  store: true,
  recordIn: true,
  onError: true,
  providers: true,
  profiles: true,
  order: true,
  gate: true,
  fallback: true,
  upstream: true,
  probe: true,
  labels: true,
} satisfies Record<keyof GatewatchOptions, true>)

/**
 * Rejects what is no option of a public function: a key that is misspelt, or one that only programs of this package give.
 *
 * @param more Options beside those of `createGatewatch`.
 * @throws {GatewayError} `GW_CONFIG`
 * @internal
 */
export function requirePublic(options: object, more: readonly string[] = []): void {
  const allowed = [...EMBEDDED, ...more]
  const place = (key: string) => (key === 'listen' ? ' here; createGateway of gatewatch/gateway takes it' : '')
  const unknown = Object.keys(options).filter(key => !allowed.includes(key))
  const { recordIn, onError } = options as Readonly<Record<string, unknown>>
  const wrong = [
    ...unknown.map(key => `${key}: is an unknown key${place(key)}; allowed: ${allowed.join(', ')}`),
    ...(recordIn === undefined || typeof recordIn === 'string' ? [] : [`recordIn: is a ${typeof recordIn}, allowed: the path of a folder`]),
    ...(onError === undefined || typeof onError === 'function' ? [] : [`onError: is a ${typeof onError}, allowed: a function`]),
  ]
  if (wrong.length > 0) throw refused('options', wrong)
}

/**
 * As `createGatewatch`, which loads this module.
 *
 * @internal
 */
export function startEmbedded(options: GatewatchOptions, mapRead: Promise<void>): Promise<Gatewatch> {
  requirePublic(options)
  return startGatewatch(options, mapRead)
}

/**
 * As `createGatewatch`, for programs of this package.
 *
 * @param mapRead Resolves when the source map of the caller is read.
 * @internal
 */
export async function startGatewatch(
  options: StartOptions = {},
  mapRead: Promise<void> = readMapOfCaller(startGatewatch),
): Promise<Gatewatch> {
  const { store: given, environment = process.env, source = 'options', startTelemetry, processRole, recordIn, ...rest } = options
  const { onError: onFault = warnOnce(), labels, ...input } = rest
  const naming = splitLabels(labels)
  const settings = parseSettings({ ...input, ...naming.settings }, source)
  const faults = new FaultReporter(onFault)
  const role = processRole && { processRole }
  let onDropped: OnDropped = () => undefined
  const events = new EventStore({
    ...role,
    folder: recordIn,
    startedWith: { policy: settings.gate.bypass ?? 'observe', settings },
    onDropped: (place, count) => onDropped(place, count),
    onFailure: fault => faults.report('the event store', fault),
    // An embedded one is found by the application's script.
    ...(startTelemetry && { title: 'gatewatch', failedRefreshes: 'at_once' }),
  })
  const eventSink = (dropped: OnDropped) => {
    onDropped = dropped
    return events
  }
  const started: Step[] = [{ name: 'event store', run: () => events.shutdown() }]
  try {
    const telemetryOptions = { eventSink, environment, ...role }
    const own = await startTelemetry?.(telemetryOptions)
    const embedded = own ? undefined : startEmbeddedTelemetry(telemetryOptions)
    const sdk = own ?? (embedded as RunningTelemetry)
    started.unshift({ name: 'telemetry', run: () => sdk.shutdown() })
    const store = given ?? memoryStore()
    if (!given) started.unshift({ name: 'store', run: () => store.close() })
    const { nameOf, groupOf = configuredGroups(settings) } = naming
    const profiles = { configured: configuredNames(settings), nameOf, groupOf }
    const telemetry = new Telemetry(sdk.source, { profiles, dropLabels: settings.labels.drop, faults })
    telemetry.instruments.set('info', 1, {})
    let membership: Membership | undefined
    const onTokenUrl = (tokenUrl: string, providerId: string) => membership?.watch(tokenUrl, providerId)
    const gateway = new Gateway({ settings, store, telemetry, environment, source, watchesLater: embedded !== undefined, onTokenUrl })
    started.unshift(...gateway.stopSteps())
    if (embedded) {
      membership = joinGatewatches(gateway, embedded)
      if (!membership.isPrimary) faults.notice(secondInProcess())
      const unseen = unseenApi()
      if (unseen !== undefined) faults.notice(anotherApi(unseen))
      started.unshift({ name: 'place among the Gatewatches of the process', run: membership.leave })
    }
    const cluster = embedded && clusterOf(gateway, embedded, faults)
    if (cluster) started.unshift({ name: 'metrics of the cluster', run: () => cluster.close() })
    await gateway.start()
    cluster?.start()
    await mapRead
    return new Gatewatch({ gateway, sdk, events, cluster, settings, environment, source, stopSteps: started })
  } catch (error) {
    // What goes wrong on the way out says less than why it could not start.
    await runSteps('a start that failed is undone', started).catch(fault => faults.report('undoing a start that failed', fault))
    throw error
  }
}

interface SplitLabels {
  readonly settings: Pick<SettingsInput, 'labels'>
  readonly nameOf?: (profileId: string) => string | undefined
  readonly groupOf?: (profileId: string) => string | undefined
}

/** Separates callbacks from what a configuration file can say too; an unknown key stays with it and is refused there. */
function splitLabels(labels: LabelOptions | undefined): SplitLabels {
  if (labels === undefined) return { settings: {} }
  if (typeof labels !== 'object' || labels === null) return { settings: { labels } }
  const rest: Record<string, unknown> = { ...labels }
  const { profileName, profileGroup } = labels
  if (typeof profileName === 'function') delete rest.profileName
  if (typeof profileGroup === 'function') delete rest.profileGroup
  return {
    settings: { labels: rest },
    ...(typeof profileName === 'function' && { nameOf: profileName }),
    ...(typeof profileGroup === 'function' && { groupOf: profileGroup }),
  }
}

/** Of several Gatewatches in a process the first one watches token requests and shows the counters of all of them to the host. */
function joinGatewatches(gateway: Gateway, { meter, points }: EmbeddedTelemetry): Membership {
  const membership = joinProcess({
    points,
    lead: () => {
      gateway.watchTokenRequests()
      meter.rebind()
    },
    watch: (tokenUrl, providerId) => gateway.watchTokenUrl(tokenUrl, providerId),
  })
  if (!membership.isPrimary) for (const [tokenUrl, providerId] of gateway.registry.tokenUrls()) membership.watch(tokenUrl, providerId)
  meter.join(membership)
  return membership
}

function clusterOf(gateway: Gateway, { source, metrics }: EmbeddedTelemetry, faults: FaultReporter): ClusterMetrics {
  return new ClusterMetrics({ series: source.series, refreshGauges: () => gateway.refreshGauges(), write: metrics, faults })
}

function secondInProcess(): GatewayError {
  return new GatewayError(
    'GW_CONFIG',
    'another Gatewatch runs in this process and records its token requests, under its own policy; this one records what goes through its own gate and wrappers. Create one for a process, and install one copy of the package',
    { next: 'fix_configuration' },
  )
}

function anotherApi(version: string): GatewayError {
  return new GatewayError(
    'GW_CONFIG',
    `OpenTelemetry is registered in this process with @opentelemetry/api ${version}, and Gatewatch has found another copy of a higher minor version, which does not see it: no span or metric of Gatewatch reaches the application's exporters. Install one copy of @opentelemetry/api (npm ls @opentelemetry/api)`,
    { next: 'fix_configuration' },
  )
}

/** Gatewatch in one process. Made by `createGatewatch`. */
export class Gatewatch {
  /** What was observed, read back. */
  readonly events: RecordedEvents
  readonly #parts: Parts
  readonly #gauges: NodeJS.Timeout
  /** Servers that listen, or are about to, and pages. */
  readonly #attached = new Set<Promise<Attached>>()
  #stopped: Promise<void> | undefined

  /** @internal */
  constructor(parts: Parts) {
    this.#parts = parts
    this.events = new RecordedEvents(parts.events)
    this.#gauges = setInterval(() => {
      void parts.gateway.refreshGauges()
      parts.sdk.source.meter?.check()
    }, GAUGES_EVERY_MS)
    this.#gauges.unref()
  }

  /**
   * Puts the gate around a refresh function of your own that keeps tokens in a store of your own: single flight, permit,
   * spans and metrics with caller and reason. Token requests made anywhere else in the process show up as bypasses.
   *
   * @returns A function with the same `this`, arguments, result and errors as `refresh`; it can take the place of a method.
   * @throws {GatewayError} `GW_CONFIG` for a provider whose token URL is not known, where none is given.
   * @throws {RangeError} for a `timeoutMs` that is no time.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const refresh = async (user: { id: string }) => fetch('https://login.acme.example/token', { method: 'POST', body: user.id })
   * export const guarded = watch.wrapRefresh(refresh, {
   *   provider: 'acme',
   *   tokenUrl: 'https://login.acme.example/token',
   *   profile: user => user.id,
   *   reason: 'expired',
   * })
   */
  wrapRefresh<F extends AsyncFunction>(refresh: F, options: WrapRefreshOptions<F>): F {
    return this.#parts.gateway.wrapRefresh(refresh, options)
  }

  /**
   * Wraps a provider call of your own: a span with caller, profile, outcome and tokens, and its duration. It ends with the stream
   * that the call returned, as the application reads it.
   *
   * @returns A function with the same `this`, arguments, result and errors as `send`.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const ask = async (prompt: string) => fetch('https://api.openai.com/v1/responses', { method: 'POST', body: prompt })
   * export const asked = watch.wrapCall(ask, { provider: 'openai', model: 'gpt-5.5', profile: 'work' })
   */
  wrapCall<F extends AnyFunction>(send: F, options: WrapCallOptions<F>): F {
    return this.#parts.gateway.wrapCall(send, options)
  }

  /**
   * Makes a `fetch` for SDKs and clients that take one: each request is one attempt, with caller, provider, profile, model, tokens
   * and outcome. It sends the request unchanged and returns the `Response` that came; what is recorded is read from the bytes as
   * they pass. Within a call that `wrapCall` or `beginCall` records, the requests are the attempts of that call.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const openai = { apiKey: 'from your store', fetch: watch.fetch({ provider: 'openai', profile: 'work' }) } // for `new OpenAI(...)`
   * export const answer = await openai.fetch('https://api.openai.com/v1/responses', { method: 'POST', body: '{"model":"gpt-5.5"}' })
   */
  fetch(options: WatchedFetchOptions = {}): typeof globalThis.fetch {
    return this.#parts.gateway.fetch(options, takeCallerSite(Gatewatch.prototype.fetch))
  }

  /**
   * Begins the record of a provider call that no function wraps: a web socket, a native client, a queue. Report what happens by the
   * handle, and end it once.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const call = watch.beginCall({ provider: 'openai', profile: 'work', model: 'gpt-5.5' })
   * call.firstChunk()
   * call.usage({ inputTokens: 12, outputTokens: 345 })
   * call.end({ status: 200 })
   */
  beginCall(options: BeginCallOptions): BegunCall {
    return this.#parts.gateway.beginCall(options, takeCallerSite(Gatewatch.prototype.beginCall))
  }

  /**
   * Wraps a login, code exchange or revocation of your own: a span with the caller. Its token requests are meant, and are no
   * bypass.
   *
   * @returns A function with the same `this`, arguments, result and errors as `run`.
   * @throws {GatewayError} `GW_CONFIG` for a token URL that is none.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const signIn = async () => fetch('https://login.acme.example/token', { method: 'POST' })
   * export const login = watch.wrapOperation('login', signIn, { provider: 'acme', profile: 'work' })
   */
  wrapOperation<F extends AsyncFunction>(operation: WrappedOperation, run: F, options: WrapOperationOptions<F>): F {
    return this.#parts.gateway.wrapOperation(operation, run, options)
  }

  /**
   * Notes a fallback of a gateway of your own, when its call goes on with another profile. Within a wrapped call it is a step of
   * that call, which is one of the other profile from then on; elsewhere it is an event of its own, with the caller.
   *
   * Never throws: a note that cannot be used is reported once through `onError`, as `GW_CONFIG` with the key, its type and what is
   * allowed, and records nothing.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * watch.noteFallback({ from: 'openai-codex:work', to: 'openai:default', reason: 'rate_limit', billingChanged: true })
   */
  noteFallback(note: FallbackNote): void {
    this.#parts.gateway.notes.fallback(note, takeCallerSite(Gatewatch.prototype.noteFallback))
  }

  /**
   * Notes that a gateway of your own leaves a profile alone for a while: it is `resting` in `profiles()`, on the ops page and in the
   * gauges until then. Of two notes the later end holds; one in the past ends the rest. Never throws, as `noteFallback`.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * watch.noteCooldown({ profile: 'openai-codex:work', provider: 'openai-codex', reason: 'rate_limit', durationMs: 60_000 })
   */
  noteCooldown(note: CooldownNote): void {
    this.#parts.gateway.notes.cooldown(note, takeCallerSite(Gatewatch.prototype.noteCooldown))
  }

  /**
   * Notes a login that no `wrapOperation` is around, or within one how it ended. One that went well ends the cooldown of its profile.
   * Never throws, as `noteFallback`.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * watch.noteLogin({ profile: 'openai-codex:work', provider: 'openai-codex', method: 'device' })
   */
  noteLogin(note: LoginNote): void {
    this.#parts.gateway.notes.login(note, takeCallerSite(Gatewatch.prototype.noteLogin))
  }

  /**
   * Notes a logout that no `wrapOperation` is around. What was noted of the profile is not shown any more. Never throws, as
   * `noteFallback`.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * watch.noteLogout({ profile: 'openai-codex:work', provider: 'openai-codex' })
   */
  noteLogout(note: LogoutNote): void {
    this.#parts.gateway.notes.logout(note, takeCallerSite(Gatewatch.prototype.noteLogout))
  }

  /**
   * Reads the profiles of a gateway of your own, for `profiles()`, the ops page and the gauges of profiles: at each scrape, and every
   * 15 s for exporters that push. What is not in the answer is gone. No token is read: a key that is none of `ObservedProfile` is
   * left out and reported once.
   *
   * The callback has one second. When it throws, takes longer or returns what is no profile, that is reported once through `onError`,
   * and its profiles are absent until it answers again.
   *
   * @returns Ends the observation.
   * @throws {GatewayError} `GW_CONFIG` for what is no function.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const logins = new Map([['work', { expiresAt: Date.now() + 3_600_000, rotations: 3 }]])
   * const end = watch.observeProfiles(() =>
   *   [...logins].map(([name, { expiresAt, rotations }]) => ({
   *     profile: `openai-codex:${name}`,
   *     provider: 'openai-codex',
   *     billing: 'subscription' as const,
   *     expiresAt,
   *     generation: rotations,
   *   })),
   * )
   * process.once('SIGTERM', end)
   */
  observeProfiles(read: ReadProfiles): () => void {
    return this.#parts.gateway.reported.observe(read)
  }

  /**
   * Binds the permit of the wrapped refresh that runs now to a function that runs later in another asynchronous context, such as a
   * job of a pool, a queue or a retry whose timer was set before. Its token request is then part of this refresh, and no bypass. The
   * permit ends with the refresh: wait for the job within it.
   *
   * @returns A function with the same `this`, arguments and result; `work` itself outside of a wrapped refresh.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * const jobs: (() => void)[] = [] // run by a worker that was started before
   * const post = async () => fetch('https://login.acme.example/token', { method: 'POST' })
   * const refresh = () => new Promise<Response>((resolve, reject) => jobs.push(watch.bindPermit(() => void post().then(resolve, reject))))
   * export const guarded = watch.wrapRefresh(refresh, { provider: 'acme', profile: 'work', tokenUrl: 'https://login.acme.example/token' })
   */
  bindPermit<F extends AnyFunction>(work: F): F {
    return bindPermit(work)
  }

  /**
   * Acquires a token at the refresh gate for a profile of the store.
   *
   * @throws {GatewayError} as `RefreshGate.enter`.
   * @throws {RangeError} for a `timeoutMs` that is no time.
   * @example
   * import { createGatewatch } from 'gatewatch'
   * import { fileStore } from 'gatewatch/store'
   *
   * const watch = await createGatewatch({ store: fileStore('./state') })
   * const { profile } = await watch.acquireToken({ profile: 'openai-codex:work', reason: 'expiring', timeoutMs: 5_000 })
   * export const type = profile.credential.type
   */
  async acquireToken({
    profile: profileId,
    reason,
    rejectedToken: rejected,
    signal,
    timeoutMs: deadlineMs,
  }: AcquireTokenOptions): Promise<AcquireResult> {
    const caller = takeCallerSite(Gatewatch.prototype.acquireToken)
    this.#mustRun()
    const waitMs = checkedDeadline('acquireToken: timeoutMs', deadlineMs)
    return this.#parts.gateway.acquireToken({
      profileId,
      reason,
      caller,
      ...(rejected && { rejected }),
      ...(signal && { signal }),
      ...(waitMs !== undefined && { deadlineMs: waitMs }),
    })
  }

  /**
   * Makes a provider call: profiles, gate, fallback, telemetry in one.
   *
   * @returns The answer of the provider that served, or the refusal of the last one that was asked.
   * @throws {GatewayError} `GW_BAD_REQUEST` for a body that is none, `GW_NO_PROFILE`, `GW_ALL_PROFILES_FAILED` (no provider
   *   answered), `GW_ABORTED`, or a store's code.
   * @example
   * import { createGatewatch } from 'gatewatch'
   * import { fileStore } from 'gatewatch/store'
   *
   * const watch = await createGatewatch({ store: fileStore('./state') })
   * const answer = await watch.call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'hello' } })
   * for await (const chunk of answer.body) process.stdout.write(chunk)
   */
  async call({ protocol, model, body, headers, provider, profile, signal }: CallOptions): Promise<CallAnswer> {
    const caller = takeCallerSite(Gatewatch.prototype.call)
    this.#mustRun()
    const bytes = callBody(body)
    const request = {
      caller,
      protocol,
      model,
      stream: bytes !== undefined && scannedTrue(bytes, scanMembers(bytes, ['stream'])?.members.get('stream')),
      headers: { 'content-type': 'application/json', ...sentHeaders(inLowerCase(headers)) },
      ...(bytes && { body: bytes }),
      ...(provider !== undefined && { provider }),
      ...(profile !== undefined && { profile }),
    }
    return answerOf(this.#parts.gateway, request, signal)
  }

  /**
   * Probes profiles the way a call would go: same choice, same gate, same transport. It is no turn, rests or wakes no profile,
   * and refreshes only what the next call would refresh.
   *
   * @param profile Id of a profile, or its name as telemetry shows it. @default all, one after the other
   * @throws {GatewayError} `GW_PROFILE_UNKNOWN`, or a store's code; what ails a profile is its result.
   * @example
   * import { createGatewatch } from 'gatewatch'
   * import { fileStore } from 'gatewatch/store'
   *
   * const watch = await createGatewatch({ store: fileStore('./state') })
   * for (const { profile, verdict } of await watch.probe()) console.log(profile, verdict)
   */
  async probe(profile?: string): Promise<readonly ProbeResult[]> {
    const caller = takeCallerSite(Gatewatch.prototype.probe)
    this.#mustRun()
    return this.#parts.gateway.probe(profile, caller)
  }

  /**
   * What every profile can do right now: those of the store, and those that `observeProfiles` and notes report.
   *
   * @example
   * import { createGatewatch } from 'gatewatch'
   * import { fileStore } from 'gatewatch/store'
   *
   * const watch = await createGatewatch({ store: fileStore('./state') })
   * for (const { profile, state } of await watch.profiles()) console.log(profile, state)
   */
  profiles(): Promise<readonly ProfileSnapshot[]> {
    return this.#parts.gateway.snapshot()
  }

  /**
   * What a scrape of `/metrics` gets. @param accept The `Accept` header; OpenMetrics when it asks for it.
   *
   * Each process of a `node:cluster` whose primary has a Gatewatch answers for all of them. With `others` the metrics of another registry and ours are one answer, in the format of the others: no family or series
   * comes twice, `target_info` is theirs where they have one, and OpenMetrics ends once.
   *
   * @throws {TypeError} for `others` that are no text, such as a promise that was not awaited. {GatewayError} `GW_CLOSED` once stopped;
   *   `GW_OVERLOADED` in a worker whose primary does not answer.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * import { createServer } from 'node:http'
   *
   * createServer(async (request, response) => {
   *   const { contentType, body } = await watch.metrics(request.headers.accept)
   *   response.setHeader('content-type', contentType).end(body)
   * })
   */
  async metrics(accept?: string, { others }: MetricsOptions = {}): Promise<MetricsAnswer> {
    if (others !== undefined && typeof others !== 'string')
      throw new TypeError(`metrics: others is a value of type ${typeof others}, allowed: text; await what the registry returns`)
    if (others === undefined) return this.#scraped(accept)
    const { contentType, body } = await this.#scraped(CONTENT_TYPES[formatOf(others)])
    return { contentType, body: mergeExposition(body, others) }
  }

  async #scraped(accept: string | undefined): Promise<MetricsAnswer> {
    const { cluster, gateway, sdk } = this.#parts
    if (cluster) return cluster.metrics(accept)
    await gateway.refreshGauges()
    return sdk.metrics(accept)
  }

  /**
   * Starts what belongs to `watch` and ends with it.
   *
   * @throws {GatewayError} `GW_CLOSED` once stopped; `GW_CONFIG` for what another copy of this package has made.
   * @internal
   */
  static attach<T extends Attached | Promise<Attached>>(watch: Gatewatch, start: (parts: Parts) => T): T {
    if (!(#parts in watch)) throw refused('watch', ['is no Gatewatch of this copy of the package; install one copy (npm ls gatewatch)'])
    watch.#mustRun()
    const attached = start(watch.#parts)
    const settled = Promise.resolve(attached)
    watch.#attached.add(settled)
    settled.catch(() => watch.#attached.delete(settled))
    return attached
  }

  /** Sends what telemetry is waiting. Never rejects. */
  flush(): Promise<void> {
    return this.#parts.sdk.flush()
  }

  /**
   * Stops everything that was started, in order: servers, probes, refreshes under way (which are waited for), the
   * watch over token requests, connections to providers, telemetry with what it has to send. A store that was given stays
   * open. Calls in code that are under way end with `GW_CLOSED`. Asked again, it is the same stop.
   *
   * A new token that the store could not take (a full disk) is tried again until the grace is over.
   *
   * @param graceMs How long requests under way at the servers, and such writes, may take, in ms. @default listen.stopGraceMs
   * @throws {AggregateError} with what the steps threw that failed; all the others were done. `GW_NOT_PERSISTED` is among it
   *   when a new token is lost with this process: it names the profile.
   * @example
   * import { createGatewatch } from 'gatewatch'
   *
   * const watch = await createGatewatch()
   * process.once('SIGTERM', () => void watch.close(10_000))
   */
  close(graceMs?: number): Promise<void> {
    this.#stopped ??= runSteps('Gatewatch stops', [
      { name: 'gauges', run: () => clearInterval(this.#gauges) },
      { name: 'grace', run: () => this.#parts.gateway.endWithin(graceMs) },
      { name: 'servers', run: () => this.#stopAttached(graceMs) },
      ...this.#parts.stopSteps,
    ])
    return this.#stopped
  }

  /** As `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #stopAttached(graceMs: number | undefined): Promise<void> {
    const stops = [...this.#attached].map(async begun => {
      const attached = await begun.catch(() => undefined)
      await attached?.stop(graceMs)
    })
    await Promise.all(stops)
  }

  #mustRun(): void {
    if (this.#stopped) throw new GatewayError('GW_CLOSED', 'Gatewatch has been stopped in this process', { next: 'nothing' })
  }
}

/** Makes a call whose answer is read as a stream. */
function answerOf(gateway: Gateway, request: Omit<CallRequest, 'signal'>, signal: AbortSignal | undefined): Promise<CallAnswer> {
  const givenUp = new AbortController()
  const signals = signal ? AbortSignal.any([signal, givenUp.signal]) : givenUp.signal
  return new Promise((resolve, reject) => {
    const sink: CallSink = new AnswerStream(resolve, () => givenUp.abort())
    gateway.calls.call({ ...request, signal: signals }, sink).then(end => {
      if (end.type === 'aborted') reject(signals.aborted ? givenUpByCaller(signal) : givenUpByUs())
      else if (end.type === 'failed' && end.refusal && end.served) {
        const { status, headers, body } = end.refusal
        resolve({ status, headers, body: Readable.from([body]), served: end.served })
      } else if (end.type === 'failed') reject(end.error)
    }, reject)
  })
}

function givenUpByCaller(signal: AbortSignal | undefined): GatewayError {
  return new GatewayError('GW_ABORTED', 'the call was given up by its caller', { next: 'nothing', cause: signal?.reason })
}

function givenUpByUs(): GatewayError {
  return new GatewayError('GW_CLOSED', 'Gatewatch was stopped while the call was under way', { next: 'try_again_later' })
}

/** Header names are the same in any case; two spellings of one must not both be sent. */
function inLowerCase(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** Writes one process warning for each kind: a line for each request would be a fault of its own. */
function warnOnce(): (fault: unknown, place?: string) => void {
  const written = new Set<string>()
  return (fault, place) => {
    const text = warningOf(fault, place)
    if (written.has(text)) return
    written.add(text)
    process.emitWarning(text, 'GatewatchWarning')
  }
}

/** What an operator has to change is in the message; of a fault the type alone is written, since its text may hold anything. */
function warningOf(fault: unknown, place = 'Gatewatch'): string {
  if (isGatewayError(fault) && fault.next === 'fix_configuration') return `Gatewatch: ${fault.message}`
  const type = fault instanceof Error ? fault.name : typeof fault
  return `Gatewatch: ${place} failed and is left out (${type}); the application is not affected`
}
