import type { Attributes } from '@opentelemetry/api'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { METRICS, type MetricKey, SCOPE } from '../../otel/names.ts'
import { PullMetricReader } from '../../src/telemetry/metric-reader.ts'
import { RedactingSpanProcessor } from '../../src/telemetry/redaction.ts'
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
  const tracer = new TracerProvider({ spanProcessors: [redaction], spanLimits: { linkCountLimit: 1024 } }).getTracer(SCOPE)
  const reader = new PullMetricReader()
  const meter = new MeterProvider({ readers: [reader] }).getMeter(SCOPE)
  return {
    telemetry: new Telemetry({ tracer, meter }),
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
