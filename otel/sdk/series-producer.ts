import { type HrTime, ValueType } from '@opentelemetry/api'
import { millisToHrTime } from '@opentelemetry/core'
import { emptyResource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  InstrumentType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import type { HistogramSeries, MetricStorage, NumberSeries, Series } from '../../src/telemetry/metric-storage.ts'
import { type MetricDefinition, type MetricKind, SCOPE } from '../semconv.ts'

interface SeriesProducerOptions {
  /** Version of the instrumentation scope. */
  version?: string
  /** What the exporter asks for: all since the beginning, or what came since it last asked. @default cumulative */
  temporalityOf?: (type: InstrumentType) => AggregationTemporality
}

/** What a series showed when it was last read, for a reader of deltas. */
interface Reported {
  readonly at: HrTime
  readonly value: number
  readonly histogram?: Histogram
}

const TYPES = {
  counter: InstrumentType.COUNTER,
  histogram: InstrumentType.HISTOGRAM,
  gauge: InstrumentType.GAUGE,
} as const satisfies Record<MetricKind, InstrumentType>

/** Gives one reader of the OpenTelemetry SDK the series of a book. Each reader needs one of its own: it remembers what was read. */
export class SeriesProducer implements MetricProducer {
  readonly #storage: MetricStorage
  readonly #version: string | undefined
  readonly #temporalityOf: (type: InstrumentType) => AggregationTemporality
  readonly #reported = new WeakMap<Series, Reported>()

  constructor(storage: MetricStorage, { version, temporalityOf = () => AggregationTemporality.CUMULATIVE }: SeriesProducerOptions = {}) {
    this.#storage = storage
    this.#version = version
    this.#temporalityOf = temporalityOf
  }

  async collect(): Promise<CollectionResult> {
    const now = millisToHrTime(Date.now())
    const metrics = Array.from(this.#storage.metrics(), ({ metric, series }) => this.#metric(metric, series, now))
    const scope = { name: SCOPE, ...(this.#version && { version: this.#version }) }
    return {
      resourceMetrics: { resource: emptyResource(), scopeMetrics: metrics.length === 0 ? [] : [{ scope, metrics }] },
      errors: [],
    }
  }

  #metric(metric: MetricDefinition, series: Iterable<Series>, now: HrTime): MetricData {
    const { name, unit, help: description, kind } = metric
    const aggregationTemporality = this.#temporalityOf(TYPES[kind])
    const isDelta = aggregationTemporality === AggregationTemporality.DELTA
    const valueType = kind === 'counter' ? ValueType.INT : ValueType.DOUBLE
    const common = { descriptor: { name, unit, description, valueType }, aggregationTemporality }
    switch (kind) {
      case 'counter':
        return {
          ...common,
          dataPointType: DataPointType.SUM,
          isMonotonic: true,
          dataPoints: pointsOf(series as Iterable<NumberSeries>, one => this.#number(one, now, isDelta)),
        }
      case 'histogram':
        return {
          ...common,
          dataPointType: DataPointType.HISTOGRAM,
          dataPoints: pointsOf(series as Iterable<HistogramSeries>, one => this.#histogram(one, now, isDelta)),
        }
      case 'gauge':
        return {
          ...common,
          dataPointType: DataPointType.GAUGE,
          dataPoints: pointsOf(series as Iterable<NumberSeries>, one => point(one, millisToHrTime(one.startedAt), now, one.value)),
        }
      default:
        return kind satisfies never
    }
  }

  #number(series: NumberSeries, now: HrTime, isDelta: boolean): DataPoint<number> | undefined {
    const reported = isDelta ? this.#reported.get(series) : undefined
    if (isDelta) this.#reported.set(series, { at: now, value: series.value })
    if (reported?.value === series.value) return undefined
    return point(series, reported?.at ?? millisToHrTime(series.startedAt), now, series.value - (reported?.value ?? 0))
  }

  #histogram(series: HistogramSeries, now: HrTime, isDelta: boolean): DataPoint<Histogram> | undefined {
    const all = histogramOf(series)
    const reported = isDelta ? this.#reported.get(series) : undefined
    if (isDelta) this.#reported.set(series, { at: now, value: series.count, histogram: all })
    if (reported?.value === series.count) return undefined
    const since = reported?.histogram ? difference(all, reported.histogram) : all
    return point(series, reported?.at ?? millisToHrTime(series.startedAt), now, since)
  }
}

function pointsOf<One, Value>(series: Iterable<One>, pointOf: (one: One) => DataPoint<Value> | undefined): DataPoint<Value>[] {
  return Array.from(series, pointOf).filter(found => found !== undefined)
}

function point<Value>({ labels }: Series, startTime: HrTime, endTime: HrTime, value: Value): DataPoint<Value> {
  return { attributes: labels, startTime, endTime, value }
}

function histogramOf({ bounds, counts, count, sum, min, max }: HistogramSeries): Histogram {
  return { buckets: { boundaries: [...bounds], counts: [...counts] }, count, sum, min, max }
}

/** What came since `before`. Smallest and largest value of that time are not known, and are left out. */
function difference({ buckets, count, sum = 0 }: Histogram, before: Histogram): Histogram {
  return {
    buckets: {
      boundaries: buckets.boundaries,
      counts: buckets.counts.map((value, index) => value - (before.buckets.counts[index] ?? 0)),
    },
    count: count - before.count,
    sum: sum - (before.sum ?? 0),
  }
}
