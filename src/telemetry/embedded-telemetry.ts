import { INVALID_SPAN_CONTEXT, trace } from '@opentelemetry/api'
import { METRICS, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import type { ProcessRole } from '../domain/enums.ts'
import { packageVersion } from '../tools/own-package.ts'
import { type Environment, isTrue } from './environment.ts'
import { EventOutlet, type EventSink } from './event-outlet.ts'
import type { NumberPoint } from './gatewatches.ts'
import { HostMeter } from './host-meter.ts'
import { HostTracer } from './host-tracer.ts'
import { LightTracer } from './light-tracer.ts'
import { MetricStorage, NumberSeries } from './metric-storage.ts'
import { negotiate } from './metrics-negotiation.ts'
import { collectSeries, writeMetrics } from './open-metrics.ts'
import { processAttributes } from './process-resource.ts'
import type { OnDropped } from './redaction-processor.ts'
import { dropCounter, longestValueOf, type MetricsAnswer, type RunningTelemetry, telemetryClosed } from './running-telemetry.ts'
import { SPAN_LIMITS } from './span-tree.ts'
import { traceKeeping } from './tail-sampler.ts'
import type { SpanSource, TelemetrySource } from './telemetry.ts'

export interface EmbeddedTelemetryOptions {
  /** Gets every event that is kept, redacted, sampled or not; what it cannot store it counts by `onDropped`. @default none */
  eventSink?: (onDropped: OnDropped) => EventSink
  environment: Environment
  processRole?: ProcessRole
}

/** Telemetry of a guest. */
export interface EmbeddedTelemetry extends RunningTelemetry {
  readonly meter: HostMeter
  /** What `/metrics` answers. @param storage Other series than those of this process. */
  metrics(accept?: string, storage?: MetricStorage): Promise<MetricsAnswer>
  /** The values of a counter or gauge, by the name of the metric. */
  points(metric: string): Iterable<NumberPoint>
}

const KEYS: ReadonlyMap<string, MetricKey> = new Map(Object.entries(METRICS).map(([key, { name }]) => [name, key as MetricKey]))

/**
 * Starts telemetry in an application: spans and metrics go through the OpenTelemetry API to whatever the application has
 * registered, now or later, and events to the sink. No SDK is loaded, nothing is registered, and `OTEL_*` variables of exporters
 * and samplers are the application's to read.
 *
 * `OTEL_SDK_DISABLED=true` switches events and metrics off as well.
 */
export function startEmbeddedTelemetry({ eventSink, environment, processRole }: EmbeddedTelemetryOptions): EmbeddedTelemetry {
  const version = packageVersion()
  const isOn = !isTrue(environment, 'OTEL_SDK_DISABLED')
  const series = new MetricStorage({ isOn })
  const resource = { attributes: processAttributes({ environment, ...(processRole && { processRole }) }) }
  const onDropped = dropCounter(series)
  const sink = isOn ? eventSink?.(onDropped) : undefined
  const outlet = new EventOutlet({ sink, resource, scope: { name: SCOPE, version }, onDropped, longestValue: longestValueOf(environment) })
  const tracer = new LightTracer({ ...traceKeeping(), limits: SPAN_LIMITS, host: new HostTracer(version), outlet })
  const meter = new HostMeter(version)
  const source: TelemetrySource = { tracer: isOn ? tracer : NO_SPANS, series, meter }
  let isClosed = false
  return {
    source,
    meter,
    points: name => pointsOf(series, name),
    metrics: async (accept, storage = series) => {
      if (isClosed) throw telemetryClosed()
      const { format, contentType } = negotiate(accept)
      return { contentType, body: writeMetrics(resource.attributes, collectSeries(storage), storage, format) }
    },
    flush: async () => void (await Promise.allSettled([sink?.flush()])),
    shutdown: async () => {
      isClosed = true
      meter.stop()
      await Promise.allSettled([sink?.shutdown()])
    },
  }
}

const NO_SPANS: SpanSource = { startSpan: () => trace.wrapSpanContext(INVALID_SPAN_CONTEXT) }

function* pointsOf(storage: MetricStorage, name: string): Generator<NumberPoint> {
  const key = KEYS.get(name)
  if (key === undefined) return
  for (const series of storage.of(key)) if (series instanceof NumberSeries) yield series
}
