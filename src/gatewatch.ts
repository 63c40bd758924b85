import { Readable } from 'node:stream'
import type { RequestHandler } from 'express'
import type { SdkOptions } from '../otel/sdk/sdk.ts'
import { readMapOfCaller, takeCallerSite } from './callers/caller.ts'
import { callBody } from './calls/call-body.ts'
import type { CallRequest, CallSink } from './calls/call-request.ts'
import type { ProbeResult } from './calls/probe.ts'
import type { ProfileSnapshot } from './calls/profile-snapshot.ts'
import type { WrapCallOptions } from './calls/wrap-call.ts'
import type { ProcessRole, Protocol, RefreshReason } from './domain/enums.ts'
import { GatewayError, isGatewayError } from './domain/gateway-error.ts'
import type { AsyncFunction } from './domain/wrapped-function.ts'
import { type EventSource, EventStore } from './events/event-store.ts'
import { Recorder } from './events/recorder.ts'
import { SpanEvents } from './events/span-events.ts'
import { Gateway } from './gateway.ts'
import type { WrapOperationOptions, WrappedOperation } from './login/wrap-operation.ts'
import { configuredNames, parseSettings, type Settings, type SettingsInput } from './options.ts'
import type { AcquireResult } from './refresh/acquire.ts'
import { checkedDeadline } from './refresh/wait.ts'
import type { WrapRefreshOptions } from './refresh/wrap-refresh.ts'
import { AnswerStream, type CallAnswer } from './server/answer-stream.ts'
import { sentHeaders } from './server/passed-headers.ts'
import { requestSpans } from './server/request-span.ts'
import type { Serving } from './server/server.ts'
import { memoryStore } from './store/memory-store.ts'
import type { ProfileStore } from './store/profile-store.ts'
import { type EmbeddedTelemetry, startEmbeddedTelemetry } from './telemetry/embedded-telemetry.ts'
import { FaultReporter } from './telemetry/fault-reporter.ts'
import { joinProcess, type Membership } from './telemetry/gatewatches.ts'
import { unseenApi } from './telemetry/host-tracer.ts'
import type { OnDropped } from './telemetry/redaction-processor.ts'
import type { MetricsAnswer, RunningTelemetry } from './telemetry/running-telemetry.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { scanMembers, scannedTrue } from './tools/json-object.ts'
import { packageVersion } from './tools/own-package.ts'
import { runSteps, type Step } from './tools/run-guarded.ts'

/** Everything `createGatewatch` takes: settings as in a configuration file, and what only code can give. All of it is optional. */
export interface GatewatchOptions extends Omit<SettingsInput, 'state'> {
  /** Where profiles live; it stays open when Gatewatch stops. Without one Gatewatch instruments what you bring and keeps nothing. */
  store?: ProfileStore
  /** Where API keys, client secrets and `OTEL_*` variables are looked up. @default process.env */
  environment?: NodeJS.ProcessEnv
  /** What the options were read from, for messages. @default 'options' */
  source?: string
  /** The process belongs to Gatewatch: OpenTelemetry is registered for all of it. @default false */
  standalone?: boolean
  processRole?: ProcessRole
  /** State folder in which events are kept, together with those of watched processes: `gatewatch diagnose --state` reads them. */
  recordIn?: string
  /**
   * Receives faults of Gatewatch itself and of the callbacks it was given, once for each kind; `diag` of OpenTelemetry gets a
   * line too. The application runs on. @default one process warning
   */
  onError?: (fault: unknown) => void
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

interface Parts {
  readonly gateway: Gateway
  readonly sdk: RunningTelemetry
  readonly recorder: Recorder
  readonly events: EventStore
  readonly settings: Settings
  readonly environment: NodeJS.ProcessEnv
  readonly source: string
  /** Ends what was started, last come first. */
  readonly stopSteps: readonly Step[]
}

/** Gauges are renewed this often for exporters that push; a scrape renews them itself. */
const GAUGES_EVERY_MS = 15_000

/**
 * Starts Gatewatch in this process: telemetry, refresh gate, bypass watch, provider calls. Each piece is useful alone.
 *
 * @throws {GatewayError} `GW_CONFIG` for options that cannot be used, or what the store throws.
 */
export async function createGatewatch(options: GatewatchOptions = {}): Promise<Gatewatch> {
  const mapRead = readMapOfCaller(createGatewatch)
  const { store: given, environment = process.env, source = 'options', standalone = false, processRole, recordIn, ...rest } = options
  const { onError: onFault = warnOnce(), ...input } = rest
  const settings = parseSettings(input, source)
  const faults = new FaultReporter(onFault)
  const recorder = new Recorder()
  const role = processRole && { processRole }
  let onDropped: OnDropped = () => undefined
  const events = new EventStore({
    ...role,
    folder: recordIn,
    title: 'gatewatch',
    onDropped: (place, count) => onDropped(place, count),
    onFailure: fault => faults.report('the event store', fault),
    ...(standalone && { failedRefreshes: 'at_once' }),
  })
  const others = (dropped: OnDropped) => {
    onDropped = dropped
    return [new SpanEvents(events)]
  }
  const started: Step[] = []
  try {
    const embedded = standalone ? undefined : startEmbeddedTelemetry({ recorder, others, environment, ...role })
    const sdk = embedded ?? (await startStandalone({ recorder, others, standalone, environment, ...role }))
    started.unshift({ name: 'telemetry', run: () => sdk.shutdown() })
    const store = given ?? memoryStore()
    if (!given) started.unshift({ name: 'store', run: () => store.close() })
    const telemetry = new Telemetry(sdk.source, { profileNames: configuredNames(settings), faults })
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
    await gateway.start()
    await mapRead
    return new Gatewatch({ gateway, sdk, recorder, events, settings, environment, source, stopSteps: started })
  } catch (error) {
    // What goes wrong on the way out says less than why it could not start.
    await runSteps('a start that failed is undone', started).catch(fault => faults.report('undoing a start that failed', fault))
    throw error
  }
}

/** Loads the SDK, which an application that embeds Gatewatch never needs. */
async function startStandalone(options: SdkOptions): Promise<RunningTelemetry> {
  const { startSdk } = await import('../otel/sdk/sdk.ts')
  return startSdk(options)
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
  /** Recent interesting spans, redacted. */
  readonly recorder: Recorder
  /** Everything that was observed here: with a state folder, by every process of it. */
  readonly events: EventSource
  readonly #parts: Parts
  readonly #gauges: NodeJS.Timeout
  /** The servers that listen, or are about to. */
  readonly #servers = new Set<Promise<Serving>>()
  #stopped: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.recorder = parts.recorder
    this.events = parts.events
    this.#gauges = setInterval(() => {
      void parts.gateway.refreshGauges()
      parts.sdk.source.meter?.check()
    }, GAUGES_EVERY_MS)
    this.#gauges.unref()
  }

  /** Express middleware: a span for each inbound request, with everything that follows hanging under it. */
  middleware(): RequestHandler {
    return requestSpans(this.#parts.gateway.telemetry)
  }

  /**
   * Puts the gate around a refresh function of your own that keeps tokens in a store of your own: single flight, permit,
   * spans and metrics with caller and reason. Token requests made anywhere else in the process show up as bypasses.
   *
   * @returns A function with the same `this`, arguments, result and errors as `refresh`; it can take the place of a method.
   * @throws {GatewayError} `GW_CONFIG` for a provider whose token URL is not known, where none is given.
   * @throws {RangeError} for a `timeoutMs` that is no time.
   * @example
   * account.refresh = gatewatch.wrapRefresh(account.refresh, { provider: 'openai-codex', profile: 'work', reason: 'expired' })
   */
  wrapRefresh<F extends AsyncFunction>(refresh: F, options: WrapRefreshOptions<F>): F {
    return this.#parts.gateway.wrapRefresh(refresh, options)
  }

  /**
   * Wraps a provider call of your own: a span with caller, profile and outcome, and its duration.
   *
   * @returns A function with the same `this`, arguments, result and errors as `send`.
   * @example const ask = gatewatch.wrapCall(askModel, { provider: 'openai', model: 'gpt-5.5', profile: user => user.id })
   */
  wrapCall<F extends AsyncFunction>(send: F, options: WrapCallOptions<F>): F {
    return this.#parts.gateway.wrapCall(send, options)
  }

  /**
   * Wraps a login, code exchange or revocation of your own: a span with the caller. Its token requests are meant, and are no
   * bypass.
   *
   * @returns A function with the same `this`, arguments, result and errors as `run`.
   * @throws {GatewayError} `GW_CONFIG` for a token URL that is none.
   * @example const signIn = gatewatch.wrapOperation('login', signInByBrowser, { provider: 'openai-codex', profile: 'work' })
   */
  wrapOperation<F extends AsyncFunction>(operation: WrappedOperation, run: F, options: WrapOperationOptions<F>): F {
    return this.#parts.gateway.wrapOperation(operation, run, options)
  }

  /**
   * Acquires a token at the refresh gate for a profile of the store.
   *
   * @throws {GatewayError} as `RefreshGate.enter`.
   * @throws {RangeError} for a `timeoutMs` that is no time.
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
   */
  async probe(profile?: string): Promise<readonly ProbeResult[]> {
    const caller = takeCallerSite(Gatewatch.prototype.probe)
    this.#mustRun()
    return this.#parts.gateway.probe(profile, caller)
  }

  /** What every profile can do right now. */
  profiles(): Promise<readonly ProfileSnapshot[]> {
    return this.#parts.gateway.snapshot()
  }

  /** What a scrape of `/metrics` gets. @param accept The `Accept` header; OpenMetrics when it asks for it. */
  async metrics(accept?: string): Promise<MetricsAnswer> {
    await this.#parts.gateway.refreshGauges()
    return this.#parts.sdk.metrics(accept)
  }

  /**
   * Serves the provider endpoints, health, metrics and operators' data as `listen` says. `stop` ends it too.
   *
   * @throws {GatewayError} `GW_CONFIG` when the address cannot be bound, `GW_CLOSED` once stopped.
   */
  async serve(): Promise<Serving> {
    this.#mustRun()
    const { settings, gateway, events, environment, source } = this.#parts
    const parts = { gateway, events, environment, source, listen: settings.listen, version: packageVersion() }
    // Express and the pages are loaded by those that serve.
    const server = import('./server/server.ts').then(({ serve }) => serve({ ...parts, metrics: accept => this.metrics(accept) }))
    this.#servers.add(server)
    server.catch(() => this.#servers.delete(server))
    return server
  }

  /** Sends what telemetry is waiting. Never rejects. */
  flush(): Promise<void> {
    return this.#parts.sdk.flush()
  }

  /**
   * Stops everything that was started, in order: servers of `serve`, probes, refreshes under way (which are waited for), the
   * watch over token requests, connections to providers, telemetry with what it has to send. A store that was given stays
   * open. Calls in code that are under way end with `GW_CLOSED`. Asked again, it is the same stop.
   *
   * A new token that the store could not take (a full disk) is tried again until the grace is over.
   *
   * @param graceMs How long requests under way at the servers, and such writes, may take, in ms. @default listen.stopGraceMs
   * @throws {AggregateError} with what the steps threw that failed; all the others were done. `GW_NOT_PERSISTED` is among it
   *   when a new token is lost with this process: it names the profile.
   */
  close(graceMs?: number): Promise<void> {
    this.#stopped ??= runSteps('Gatewatch stops', [
      { name: 'gauges', run: () => clearInterval(this.#gauges) },
      { name: 'grace', run: () => this.#parts.gateway.endWithin(graceMs) },
      { name: 'servers', run: () => this.#stopServers(graceMs) },
      ...this.#parts.stopSteps,
    ])
    return this.#stopped
  }

  /** As `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #stopServers(graceMs: number | undefined): Promise<void> {
    const stops = [...this.#servers].map(async server => {
      const serving = await server.catch(() => undefined)
      await serving?.stop(graceMs)
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
function warnOnce(): (fault: unknown) => void {
  const written = new Set<string>()
  return fault => {
    const text = warningOf(fault)
    if (written.has(text)) return
    written.add(text)
    process.emitWarning(text, 'GatewatchWarning')
  }
}

/** What an operator has to change is in the message; of a fault the type alone is written, since its text may hold anything. */
function warningOf(fault: unknown): string {
  if (isGatewayError(fault) && fault.next === 'fix_configuration') return `Gatewatch: ${fault.message}`
  const type = fault instanceof Error ? fault.name : typeof fault
  return `Gatewatch has a fault and may have stopped watching (${type}); the application is not affected`
}
