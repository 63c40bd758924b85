import { INVALID_SPAN_CONTEXT, trace } from '@opentelemetry/api'
import { METRICS, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import type { ProcessRole } from '../domain/enums.ts'
import { packageVersion } from '../tools/own-package.ts'
import { type Environment, isTrue } from './environment.ts'
import type { NumberPoint } from './gatewatches.ts'
import { HostMeter } from './host-meter.ts'
import { HostTracer } from './host-tracer.ts'
import { LightTracer } from './light-tracer.ts'
import { MetricStorage, NumberSeries } from './metric-storage.ts'
import { negotiate } from './metrics-negotiation.ts'
import { collectSeries, writeMetrics } from './open-metrics.ts'
import { processAttributes } from './process-resource.ts'
import { type OnDropped, type RedactedProcessor, RedactingSpanProcessor } from './redaction-processor.ts'
import { dropCounter, longestValueOf, type RunningTelemetry, telemetryClosed } from './running-telemetry.ts'
import { SPAN_LIMITS } from './span-tree.ts'
import { traceKeeping } from './tail-sampler.ts'
import type { SpanSource, TelemetrySource } from './telemetry.ts'

export interface EmbeddedTelemetryOptions {
  /** Get every span that is kept, redacted, sampled or not; what they cannot store they count by `onDropped`. @default none */
  recorders?: (onDropped: OnDropped) => readonly RedactedProcessor[]
  environment: Environment
  processRole?: ProcessRole
}

/** Telemetry of a guest. */
export interface EmbeddedTelemetry extends RunningTelemetry {
  readonly meter: HostMeter
  /** The values of a counter or gauge, by the name of the metric. */
  points(metric: string): Iterable<NumberPoint>
}

const KEYS: ReadonlyMap<string, MetricKey> = new Map(Object.entries(METRICS).map(([key, { name }]) => [name, key as MetricKey]))

/**
 * Starts telemetry in an application: spans and metrics go through the OpenTelemetry API to whatever the application has
 * registered, now or later, and to the recorders. No SDK is loaded, nothing is registered, and `OTEL_*` variables of exporters
 * and samplers are the application's to read.
 *
 * `OTEL_SDK_DISABLED=true` switches the recorders and the metrics off as well.
 */
export function startEmbeddedTelemetry({ recorders = () => [], environment, processRole }: EmbeddedTelemetryOptions): EmbeddedTelemetry {
  const version = packageVersion()
  const isOn = !isTrue(environment, 'OTEL_SDK_DISABLED')
  const series = new MetricStorage({ isOn })
  const resource = { attributes: processAttributes({ environment, ...(processRole && { processRole }) }) }
  const onDropped = dropCounter(series)
  const longestValue = longestValueOf(environment)
  const redaction = new RedactingSpanProcessor(
    isOn ? recorders(onDropped).map(processor => ({ processor, place: 'event_store' as const })) : [],
    { onDropped, ...(longestValue && { longestValue }) },
  )
  const tracer = new LightTracer({
    ...traceKeeping(),
    resource,
    scope: { name: SCOPE, version },
    limits: SPAN_LIMITS,
    host: new HostTracer(version),
    onEnd: span => redaction.onEnd(span),
    onForgotten: (name, attributes) => redaction.onForgotten(name, attributes),
  })
  const meter = new HostMeter(version)
  const source: TelemetrySource = { tracer: isOn ? tracer : NO_SPANS, series, meter }
  let isClosed = false
  return {
    source,
    meter,
    points: name => pointsOf(series, name),
    metrics: async accept => {
      if (isClosed) throw telemetryClosed()
      const { format, contentType } = negotiate(accept)
      return { contentType, body: writeMetrics(resource.attributes, collectSeries(series), series, format) }
    },
    flush: async () => void (await Promise.allSettled([redaction.forceFlush()])),
    shutdown: async () => {
      isClosed = true
      meter.stop()
      await Promise.allSettled([redaction.shutdown()])
    },
  }
}

const NO_SPANS: SpanSource = { startSpan: () => trace.wrapSpanContext(INVALID_SPAN_CONTEXT) }

function* pointsOf(storage: MetricStorage, name: string): Generator<NumberPoint> {
  const key = KEYS.get(name)
  if (key === undefined) return
  for (const series of storage.of(key)) if (series instanceof NumberSeries) yield series
}
