import {
  context,
  createNoopMeter,
  diag,
  metrics,
  ProxyTracerProvider,
  propagation,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import type { Resource } from '@opentelemetry/resources'
import { type IMetricReader, MeterProvider } from '@opentelemetry/sdk-metrics'
import type { Sampler, SpanLimits, SpanProcessor } from '@opentelemetry/sdk-trace'
import type { ProcessRole } from '../../src/domain/enums.ts'
import { type Environment, isTrue, listOf, positiveNumberOf } from '../../src/telemetry/environment.ts'
import { EventOutlet, type EventSink } from '../../src/telemetry/event-outlet.ts'
import { isSdkRegistered } from '../../src/telemetry/host-tracer.ts'
import { LightTracer } from '../../src/telemetry/light-tracer.ts'
import { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import { negotiate } from '../../src/telemetry/metrics-negotiation.ts'
import { writeMetrics } from '../../src/telemetry/open-metrics.ts'
import { type OnDropped, RedactingSpanProcessor } from '../../src/telemetry/redaction-processor.ts'
import { dropCounter, longestValueOf, type RunningTelemetry, telemetryClosed } from '../../src/telemetry/running-telemetry.ts'
import { type LightSpanLimits, SPAN_LIMITS } from '../../src/telemetry/span-tree.ts'
import type { TelemetrySource } from '../../src/telemetry/telemetry.ts'
import { packageVersion } from '../../src/tools/own-package.ts'
import { SCOPE } from '../semconv.ts'
import { collectedMetrics } from './collected-metrics.ts'
import { metricReadersOf, spanProcessorsOf } from './exporters.ts'
import { PullMetricReader } from './metric-reader.ts'
import { resourceOf } from './resource.ts'
import { samplerOf } from './sampler.ts'
import { SeriesProducer } from './series-producer.ts'
import { traceKeepingOf } from './tail-sampler.ts'

export interface SdkOptions {
  /** Gets every event that is kept, redacted, sampled or not; what it cannot store it counts by `onDropped`. @default none */
  eventSink?: (onDropped: OnDropped) => EventSink
  /** The process is ours (serve, demo): OpenTelemetry is registered for the whole of it. Else the host's is left alone. */
  standalone: boolean
  /** Where the `OTEL_*` variables come from. @default process.env */
  environment?: Environment
  /** What the service is called unless the environment says otherwise. @default 'gatewatch' */
  serviceName?: string
  processRole?: ProcessRole
}

/** Longest waits, in ms. */
const WAITS = { flushMs: 5_000, shutdownMs: 3_000 } as const

/** What the providers of OpenTelemetry are built from. */
interface Parts {
  readonly resource: Resource
  readonly sampler: Sampler
  readonly spanLimits: SpanLimits
  readonly spanProcessors: SpanProcessor[]
  readonly metricReaders: IMetricReader[]
}

/** Ends what was started, and with it everything that waits to be sent. */
type Shutdown = () => Promise<unknown>

/** As `startSdk`, for a process that is ours. */
export function startStandaloneSdk(options: Omit<SdkOptions, 'standalone'>): Promise<RunningTelemetry> {
  return startSdk({ ...options, standalone: true })
}

/**
 * Starts telemetry: redacted events to the sink, and as spans to the exporters the environment names; metrics to `/metrics` and to
 * those exporters.
 *
 * Honours the standard `OTEL_*` variables. Nothing is exported unless an endpoint or an exporter is named; with
 * `OTEL_SDK_DISABLED=true` nothing is recorded either, and `/metrics` says so by holding no more than the resource.
 */
export async function startSdk({
  eventSink,
  standalone,
  environment = process.env,
  serviceName,
  processRole,
}: SdkOptions): Promise<RunningTelemetry> {
  const resource = resourceOf({ environment, ...(serviceName && { serviceName }), ...(processRole && { processRole }) })
  if (isTrue(environment, 'OTEL_SDK_DISABLED')) return disabledSdk(resource)

  const series = new MetricStorage()
  const onDropped = dropCounter(series)
  const reader = new PullMetricReader(new SeriesProducer(series))
  const exits = await spanProcessorsOf(environment, onDropped)
  const pushReaders = await metricReadersOf(environment, series)
  const longestValue = longestValueOf(environment)
  // What other code in a process of ours measures.
  const redaction = new RedactingSpanProcessor(
    exits.map(processor => ({ processor, place: 'export' as const })),
    { onDropped, ...(longestValue && { longestValue }) },
  )
  const sink = eventSink?.(onDropped)
  const scope = { name: SCOPE, version: packageVersion() }
  const outlet = new EventOutlet({ sink, exporters: exits, resource, scope, onDropped, longestValue })
  const spanLimits = spanLimitsOf(environment)
  const tracer = new LightTracer({ ...traceKeepingOf(environment), limits: limitsOf(spanLimits), outlet })
  const parts: Parts = {
    resource,
    sampler: samplerOf(environment),
    spanLimits,
    spanProcessors: [redaction],
    metricReaders: [reader, ...pushReaders],
  }
  const end = standalone && globalsAreFree() ? await globalProviders(parts, environment) : ownProviders(parts)
  const shutdown = () => Promise.allSettled([end(), sink?.shutdown()])
  const flush = () => Promise.allSettled([...[redaction, ...pushReaders].map(part => part.forceFlush()), sink?.flush()])
  return running({ source: { tracer, series }, reader, flush, shutdown })
}

interface Running {
  readonly source: TelemetrySource
  readonly reader: PullMetricReader
  readonly flush: () => Promise<unknown>
  readonly shutdown: Shutdown
}

function running({ source, reader, flush, shutdown }: Running): RunningTelemetry {
  let closing: Promise<void> | undefined
  return {
    source,
    metrics: async accept => {
      if (closing) throw telemetryClosed()
      const { format, contentType } = negotiate(accept)
      const { resourceMetrics } = await reader.collect()
      const metrics = collectedMetrics(resourceMetrics)
      return { contentType, body: writeMetrics(resourceMetrics.resource.attributes, metrics, source.series, format) }
    },
    flush: () => atMost(WAITS.flushMs, flush),
    shutdown: () => {
      closing ??= atMost(WAITS.shutdownMs, shutdown)
      return closing
    },
  }
}

/** A provider of our own that no other caller sees; the spans have none, their tracer is ours. */
function ownProviders({ resource, spanProcessors, metricReaders }: Parts): Shutdown {
  const meterProvider = new MeterProvider({ resource, readers: metricReaders })
  return () => Promise.allSettled([meterProvider, ...spanProcessors].map(part => part.shutdown()))
}

/**
 * Providers for the whole process, with propagators, context manager and log level as the environment says, for
 * other code that measures something in it. Logs stay off.
 */
async function globalProviders(parts: Parts, environment: Environment): Promise<Shutdown> {
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  // The resource is complete; detectors would add the command line.
  const sdk = new NodeSDK({ ...parts, ...propagatorOf(environment), autoDetectResources: false, logRecordProcessors: [] })
  sdk.start()
  return async () => {
    await sdk.shutdown()
    for (const api of [trace, metrics, context, propagation]) api.disable()
  }
}

/** `OTEL_PROPAGATORS` of another environment than the process's, which `NodeSDK` reads itself. */
function propagatorOf(environment: Environment): { textMapPropagator?: TextMapPropagator | null } {
  if (environment === process.env) return {}
  const named = listOf(environment, 'OTEL_PROPAGATORS')
  if (named.includes('none')) return { textMapPropagator: null }
  const propagators = (named.length === 0 ? Object.keys(PROPAGATORS) : named).flatMap(name => {
    if (Object.hasOwn(PROPAGATORS, name)) return [PROPAGATORS[name as keyof typeof PROPAGATORS]()]
    diag.warn(`OTEL_PROPAGATORS=${name} is not one of ${Object.keys(PROPAGATORS).join(', ')}, none; it is left out`)
    return []
  })
  return { textMapPropagator: new CompositePropagator({ propagators }) }
}

const PROPAGATORS = {
  tracecontext: () => new W3CTraceContextPropagator(),
  baggage: () => new W3CBaggagePropagator(),
}

/** Returns whether no OpenTelemetry is registered yet: a second registration would send our spans through the first. */
function globalsAreFree(): boolean {
  if (!isSdkRegistered() && metrics.getMeter(SCOPE) === createNoopMeter()) return true
  diag.warn('OpenTelemetry is registered in this process already; Gatewatch keeps providers of its own beside it')
  return false
}

/** Limits of a span. Values are cut by the redaction, after the search for secrets: cut before, half a secret would pass. */
function spanLimitsOf(environment: Environment): SpanLimits {
  const attributeCountLimit = positiveNumberOf(environment, 'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', 'OTEL_ATTRIBUTE_COUNT_LIMIT')
  const attributePerEventCountLimit = positiveNumberOf(environment, 'OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT')
  const attributePerLinkCountLimit = positiveNumberOf(environment, 'OTEL_LINK_ATTRIBUTE_COUNT_LIMIT')
  return {
    attributeValueLengthLimit: Number.POSITIVE_INFINITY,
    ...(attributeCountLimit && { attributeCountLimit }),
    linkCountLimit: positiveNumberOf(environment, 'OTEL_SPAN_LINK_COUNT_LIMIT') ?? SPAN_LIMITS.links,
    eventCountLimit: positiveNumberOf(environment, 'OTEL_SPAN_EVENT_COUNT_LIMIT') ?? SPAN_LIMITS.events,
    ...(attributePerEventCountLimit && { attributePerEventCountLimit }),
    ...(attributePerLinkCountLimit && { attributePerLinkCountLimit }),
  }
}

function limitsOf({ eventCountLimit, linkCountLimit }: SpanLimits): LightSpanLimits {
  return {
    events: eventCountLimit ?? SPAN_LIMITS.events,
    links: linkCountLimit ?? SPAN_LIMITS.links,
  }
}

function disabledSdk(resource: Resource): RunningTelemetry {
  const series = new MetricStorage({ isOn: false })
  const reader = new PullMetricReader(new SeriesProducer(series))
  const nothing = new MeterProvider({ resource, readers: [reader] })
  const source: TelemetrySource = { tracer: new ProxyTracerProvider().getTracer(SCOPE), series }
  return running({ source, reader, flush: async () => {}, shutdown: () => nothing.shutdown() })
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
