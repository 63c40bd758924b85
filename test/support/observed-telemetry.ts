import type { Attributes } from '@opentelemetry/api'
import { emptyResource } from '@opentelemetry/resources'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import { PullMetricReader } from '../../otel/sdk/metric-reader.ts'
import { SeriesProducer } from '../../otel/sdk/series-producer.ts'
import { METRICS, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import { EventOutlet } from '../../src/telemetry/event-outlet.ts'
import type { FinishedSpanProcessor } from '../../src/telemetry/finished-span.ts'
import { LightTracer } from '../../src/telemetry/light-tracer.ts'
import { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import type { OnDropped } from '../../src/telemetry/redaction-processor.ts'
import { SPAN_LIMITS } from '../../src/telemetry/span-tree.ts'
import { Telemetry, type TelemetryOptions } from '../../src/telemetry/telemetry.ts'

/** One series of a metric: its labels exactly, and its sum (counter), number of measurements (histogram) or value (gauge). */
export interface Series {
  readonly labels: Attributes
  readonly value: number
  /** Sum of what was measured; histograms only. */
  readonly sum?: number
}

interface ObservedOptions extends TelemetryOptions {
  readonly onDropped?: OnDropped
}

/** Telemetry whose output can be looked at: spans as they leave the redaction, metrics as a reader collects them. */
export interface ObservedTelemetry {
  readonly telemetry: Telemetry
  /** Finished spans of that name, in the order of their end. */
  spans(name: string): ReadableSpan[]
  /** All of them. */
  all(): ReadableSpan[]
  series(key: MetricKey): Promise<Series[]>
}

export function observedTelemetry({ onDropped = () => {}, ...options }: ObservedOptions = {}): ObservedTelemetry {
  const exporter = new InMemorySpanExporter()
  const exporters = [new SimpleSpanProcessor({ exporter })] as readonly FinishedSpanProcessor[]
  const outlet = new EventOutlet({ exporters, resource: emptyResource(), scope: { name: SCOPE }, onDropped })
  const tracer = new LightTracer({
    choose: () => ({ isSampled: true, isRecorded: true }),
    keepsNotable: true,
    limits: SPAN_LIMITS,
    outlet,
  })
  const series = new MetricStorage()
  const reader = new PullMetricReader(new SeriesProducer(series))
  // A reader collects nothing before it belongs to a provider, even an empty one.
  new MeterProvider({ readers: [reader] })
  return {
    telemetry: new Telemetry({ tracer, series }, options),
    all: () => exporter.getFinishedSpans(),
    spans: name => exporter.getFinishedSpans().filter(span => span.name === name),
    series: async key => {
      const { resourceMetrics } = await reader.collect()
      const metrics = resourceMetrics.scopeMetrics.flatMap(scope => scope.metrics)
      const points = metrics.find(({ descriptor }) => descriptor.name === METRICS[key].name)?.dataPoints ?? []
      return points.map(({ attributes, value }) =>
        typeof value === 'number'
          ? { labels: attributes, value }
          : { labels: attributes, value: value.count, ...('sum' in value && value.sum !== undefined && { sum: value.sum }) },
      )
    },
  }
}
