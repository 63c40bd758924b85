import { type DataPoint, DataPointType, type Histogram, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { CollectedMetric, CollectedPoint } from '../../src/telemetry/open-metrics.ts'
import type { MetricKind } from '../semconv.ts'

/** What a reader of the SDK collected, as `/metrics` writes it. Exponential histograms have no place there and are left out. */
export function collectedMetrics({ scopeMetrics }: ResourceMetrics): CollectedMetric[] {
  return scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap(metric => {
      const kind = kindOf(metric)
      if (!kind) return []
      const { name, unit, description: help } = metric.descriptor
      return [{ name, unit, kind, help, points: (metric.dataPoints as DataPoint<number | Histogram>[]).map(pointOf) }]
    }),
  )
}

function pointOf({ attributes: labels, value }: DataPoint<number | Histogram>): CollectedPoint {
  if (typeof value === 'number') return { labels, value }
  const { buckets, count, sum } = value
  return { labels, value: { bounds: buckets.boundaries, counts: buckets.counts, count, sum } }
}

function kindOf(metric: MetricData): MetricKind | undefined {
  switch (metric.dataPointType) {
    case DataPointType.SUM:
      return metric.isMonotonic ? 'counter' : 'gauge'
    case DataPointType.GAUGE:
      return 'gauge'
    case DataPointType.HISTOGRAM:
      return 'histogram'
    default:
      return undefined
  }
}
