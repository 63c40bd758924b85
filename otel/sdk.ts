import {
  context,
  createContextKey,
  createNoopMeter,
  diag,
  metrics,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  trace,
  ValueType,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import type { Resource } from '@opentelemetry/resources'
import { type IMetricReader, MeterProvider } from '@opentelemetry/sdk-metrics'
import { type Sampler, type SpanLimits, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { GatewayError } from '../src/domain/gateway-error.ts'
import { exemplarsOf } from '../src/telemetry/exemplars.ts'
import { PullMetricReader } from '../src/telemetry/metric-reader.ts'
import { negotiate } from '../src/telemetry/metrics-negotiation.ts'
import { writeMetrics } from '../src/telemetry/open-metrics.ts'
import { type OnDropped, RedactingSpanProcessor } from '../src/telemetry/redaction.ts'
import type { TelemetrySource } from '../src/telemetry/telemetry.ts'
import { type Environment, isTrue, positiveNumberOf, withEnvironment } from './environment.ts'
import { metricReadersOf, spanProcessorsOf } from './exporters.ts'
import { LABEL_PLACE, METRICS, SCOPE } from './names.ts'
import { packageVersion, resourceOf } from './resource.ts'
import { samplerOf } from './sampler.ts'
import type { ProcessRole } from './words.ts'

export interface SdkOptions {
  /** Gets every span, redacted, sampled or not. */
  recorder: SpanProcessor
  /** The process is ours (serve, demo): OpenTelemetry is registered for the whole of it. Else the host's is left alone. */
  standalone: boolean
  /** Where the `OTEL_*` variables come from. @default process.env */
  environment?: Environment
  /** What the service is called unless the environment says otherwise. @default 'gatewatch' */
  serviceName?: string
  processRole?: ProcessRole
}

export interface MetricsAnswer {
  readonly contentType: string
  readonly body: string
}

/** Where telemetry goes, running. */
export interface Sdk {
  /** For `new Telemetry(source)`. */
  readonly source: TelemetrySource
  /** What `/metrics` answers. @param accept The request's `Accept` header. @throws {GatewayError} `GW_CLOSED` after shutdown. */
  metrics(accept?: string): Promise<MetricsAnswer>
  /** Sends what is waiting. Never rejects, never waits longer than five seconds. */
  flush(): Promise<void>
  /**
   * Sends what is waiting and stops. Never rejects, never waits longer than three seconds; an exporter that retries at a
   * dead address may keep the process itself alive until `OTEL_EXPORTER_OTLP_TIMEOUT` (ten seconds) has passed.
   */
  shutdown(): Promise<void>
}

/** Longest waits, in ms. */
const WAITS = { flushMs: 5_000, shutdownMs: 3_000 } as const

/** A flight may be linked to hundreds of visits; the SDK's 128 would lose the first ones. */
const MOST_LINKS = 1024
const MOST_EVENTS = 256

/** The parts that a pair of providers is built from. */
interface Parts {
  readonly resource: Resource
  readonly sampler: Sampler
  readonly spanLimits: SpanLimits
  readonly spanProcessors: SpanProcessor[]
  readonly metricReaders: IMetricReader[]
}

interface Providers {
  readonly source: TelemetrySource
  shutdown(): Promise<unknown>
}

/**
 * Starts telemetry: spans through the redaction to the recorder and to the exporters the environment names; metrics to
 * `/metrics` and to those exporters.
 *
 * Honours the standard `OTEL_*` variables. Nothing is exported unless an endpoint or an exporter is named; with
 * `OTEL_SDK_DISABLED=true` nothing is recorded either, and `/metrics` says so by holding no more than the resource.
 */
export async function startSdk({ recorder, standalone, environment = process.env, serviceName, processRole }: SdkOptions): Promise<Sdk> {
  const resource = resourceOf({ environment, ...(serviceName && { serviceName }), ...(processRole && { processRole }) })
  const reader = new PullMetricReader()
  if (isTrue(environment, 'OTEL_SDK_DISABLED')) return disabledSdk(resource, reader)

  let count: OnDropped = () => {}
  const onDropped: OnDropped = (place, items) => count(place, items)
  const exits = await spanProcessorsOf(environment, onDropped)
  const pushReaders = await metricReadersOf(environment)
  const longestValue = positiveNumberOf(environment, 'OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT', 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT')
  const redaction = new RedactingSpanProcessor(
    [{ processor: recorder, place: 'recorder' }, ...exits.map(processor => ({ processor, place: 'export' as const }))],
    { onDropped, ...(longestValue && { longestValue }) },
  )
  const parts: Parts = {
    resource,
    sampler: samplerOf(environment),
    spanLimits: spanLimitsOf(environment),
    spanProcessors: [redaction],
    metricReaders: [reader, ...pushReaders],
  }
  const providers = standalone && globalsAreFree() ? await globalProviders(parts, environment) : ownProviders(parts)
  count = dropCounter(providers.source)
  return running(providers, reader, () => Promise.allSettled([redaction, ...pushReaders].map(part => part.forceFlush())))
}

function running({ source, shutdown }: Providers, reader: PullMetricReader, flush: () => Promise<unknown>): Sdk {
  let closing: Promise<void> | undefined
  return {
    source,
    metrics: async accept => {
      if (closing) throw new GatewayError('GW_CLOSED', 'telemetry has been shut down; nothing is measured any more', { next: 'nothing' })
      const { format, contentType } = negotiate(accept)
      const { resourceMetrics } = await reader.collect()
      return { contentType, body: writeMetrics(resourceMetrics, exemplarsOf(source.meter), format) }
    },
    flush: () => atMost(WAITS.flushMs, flush),
    shutdown: () => {
      closing ??= atMost(WAITS.shutdownMs, shutdown)
      return closing
    },
  }
}

/** Providers of our own that nobody else sees. */
function ownProviders({ resource, sampler, spanLimits, spanProcessors, metricReaders }: Parts): Providers {
  registerContextManager()
  const meterProvider = new MeterProvider({ resource, readers: metricReaders })
  const tracerProvider = new TracerProvider({ resource, sampler, spanLimits, spanProcessors })
  const version = packageVersion()
  return {
    source: { tracer: tracerProvider.getTracer(SCOPE, version), meter: meterProvider.getMeter(SCOPE, version) },
    shutdown: () => Promise.allSettled([tracerProvider.shutdown(), meterProvider.shutdown()]),
  }
}

/** Providers for the whole process, with propagators, context manager and log level as the environment says. Logs stay off. */
async function globalProviders(parts: Parts, environment: Environment): Promise<Providers> {
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  // The resource is complete; detectors would add the command line.
  const sdk = withEnvironment(environment, () => {
    const started = new NodeSDK({ ...parts, autoDetectResources: false, logRecordProcessors: [] })
    started.start()
    return started
  })
  const version = packageVersion()
  return {
    source: { tracer: trace.getTracer(SCOPE, version), meter: metrics.getMeter(SCOPE, version) },
    shutdown: () => sdk.shutdown(),
  }
}

/** Says whether nobody has registered OpenTelemetry yet: a second registration would send our spans through the first. */
function globalsAreFree(): boolean {
  const provider = trace.getTracerProvider()
  const tracesAreFree = provider instanceof ProxyTracerProvider && provider.getDelegateTracer(SCOPE) === undefined
  if (tracesAreFree && metrics.getMeter(SCOPE) === createNoopMeter()) return true
  diag.warn('OpenTelemetry is registered in this process already; Gatewatch keeps providers of its own beside it')
  return false
}

/** Without a context manager no span would have a parent; the host's, if there is one, serves. */
function registerContextManager(): void {
  const probe = createContextKey('gatewatch probe')
  const isActive = context.with(ROOT_CONTEXT.setValue(probe, true), () => context.active().getValue(probe) === true)
  if (!isActive) context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
}

/** Limits of a span. Values are cut by the redaction, after the search for secrets: cut before, half a secret would pass. */
function spanLimitsOf(environment: Environment): SpanLimits {
  const attributeCountLimit = positiveNumberOf(environment, 'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', 'OTEL_ATTRIBUTE_COUNT_LIMIT')
  const attributePerEventCountLimit = positiveNumberOf(environment, 'OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT')
  const attributePerLinkCountLimit = positiveNumberOf(environment, 'OTEL_LINK_ATTRIBUTE_COUNT_LIMIT')
  return {
    attributeValueLengthLimit: Number.POSITIVE_INFINITY,
    linkCountLimit: positiveNumberOf(environment, 'OTEL_SPAN_LINK_COUNT_LIMIT') ?? MOST_LINKS,
    eventCountLimit: positiveNumberOf(environment, 'OTEL_SPAN_EVENT_COUNT_LIMIT') ?? MOST_EVENTS,
    ...(attributeCountLimit && { attributeCountLimit }),
    ...(attributePerEventCountLimit && { attributePerEventCountLimit }),
    ...(attributePerLinkCountLimit && { attributePerLinkCountLimit }),
  }
}

/** Counts into the series that `Instruments` has under the same name: one meter holds one series per name. */
function dropCounter({ meter }: TelemetrySource): OnDropped {
  const { name, unit, help } = METRICS.telemetryDropped
  const counter = meter.createCounter(name, { unit, description: help, valueType: ValueType.INT })
  return (place, items) => counter.add(items, { [LABEL_PLACE]: place })
}

function disabledSdk(resource: Resource, reader: PullMetricReader): Sdk {
  const nothing = new MeterProvider({ resource, readers: [reader] })
  const source: TelemetrySource = { tracer: new ProxyTracerProvider().getTracer(SCOPE), meter: createNoopMeter() }
  return running({ source, shutdown: () => nothing.shutdown() }, reader, async () => {})
}

/** Waits for `work`, but not longer than `waitMs`; how it ends does not matter. */
async function atMost(waitMs: number, work: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeUp = new Promise<void>(resolve => {
    timer = setTimeout(resolve, waitMs)
  })
  try {
    await Promise.race([work(), timeUp])
  } catch (error) {
    diag.warn('telemetry could not be delivered', error)
  } finally {
    clearTimeout(timer)
  }
}
