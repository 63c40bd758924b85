import type { Attributes } from '@opentelemetry/api'
import { emptyResource } from '@opentelemetry/resources'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import { PullMetricReader } from '../../otel/sdk/metric-reader.ts'
import { SeriesProducer } from '../../otel/sdk/series-producer.ts'
import { METRICS, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import { LightTracer } from '../../src/telemetry/light-tracer.ts'
import { MetricStorage } from '../../src/telemetry/metric-storage.ts'
import { RedactingSpanProcessor } from '../../src/telemetry/redaction-processor.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'

/** One series of a metric: its labels exactly, and its sum (counter), number of measurements (histogram) or value (gauge). */
export interface Series {
  readonly labels: Attributes
  readonly value: number
  /** Sum of what was measured; histograms only. */
  readonly sum?: number
}

/** Telemetry whose output can be looked at: spans as they leave the redaction, metrics as a reader collects them. */
export interface ObservedTelemetry {
  readonly telemetry: Telemetry
  /** Finished spans of that name, in the order of their end. */
  spans(name: string): ReadableSpan[]
  series(key: MetricKey): Promise<Series[]>
}

export function observedTelemetry(): ObservedTelemetry {
  const exporter = new InMemorySpanExporter()
  const redaction = new RedactingSpanProcessor([{ processor: new SimpleSpanProcessor({ exporter }), place: 'export' }], {
    onDropped: () => {},
  })
  const tracer = new LightTracer({
    choose: () => ({ isSampled: true, isRecorded: true }),
    keepsNotable: true,
    resource: emptyResource(),
    scope: { name: SCOPE },
    limits: { attributes: 128, events: 256, links: 1024 },
    onEnd: span => redaction.onEnd(span),
    onForgotten: () => {},
  })
  const series = new MetricStorage()
  const reader = new PullMetricReader(new SeriesProducer(series))
  // A reader collects nothing before it belongs to a provider, even an empty one.
  new MeterProvider({ readers: [reader] })
  return {
    telemetry: new Telemetry({ tracer, series }),
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
