import type { Attributes } from '@opentelemetry/api'
import { LABELS, type Labels, METRICS, type MetricDefinition, type MetricKey, OTHER } from '../../otel/semconv.ts'

/** One measured value with the trace it was measured in. */
export interface Exemplar {
  readonly value: number
  readonly traceId: string
  /** Epoch milliseconds. */
  readonly at: number
}

/** Series one metric may have; the labels are capped already, this is the second lock on the door. */
export const MOST_SERIES_PER_METRIC = 10_000

/** A counter or a gauge with its labels. */
export class NumberSeries {
  readonly labels: Labels
  /** Epoch milliseconds. */
  readonly startedAt = Date.now()
  value = 0

  constructor(labels: Labels) {
    this.labels = labels
  }
}

/** A histogram with its labels: how many values fell into each bucket, and the newest exemplar of each. */
export class HistogramSeries {
  readonly labels: Labels
  readonly startedAt = Date.now()
  /** Upper bounds, inclusive as in OpenMetrics; the bucket behind the last one has no bound. */
  readonly bounds: readonly number[]
  readonly counts: number[]
  readonly exemplars: (Exemplar | undefined)[] = []
  count = 0
  sum = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels
    this.bounds = bounds
    this.counts = new Array(bounds.length + 1).fill(0)
  }

  /** @param traceId The trace that `value` was measured in, if it is stored. */
  record(value: number, traceId: string | undefined): void {
    if (!(value >= 0)) return
    const { bounds, counts } = this
    let bucket = 0
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket += 1
    counts[bucket] = (counts[bucket] as number) + 1
    this.count += 1
    this.sum += value
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
    if (traceId !== undefined) this.exemplars[bucket] = { value, traceId, at: Date.now() }
  }
}

/** Which of two values of a gauge with the same labels stands for both. */
export function mergeGauge(key: MetricKey, one: number, other: number): number {
  const metric: MetricDefinition = METRICS[key]
  return metric.merge === 'min' ? Math.min(one, other) : Math.max(one, other)
}

export type Series = NumberSeries | HistogramSeries

/**
 * Every series of every metric of a process, as it grows.
 *
 * Kept here and not by the OpenTelemetry SDK: that hashes all labels at every record, once for each reader, which took
 * longer than everything else telemetry does for a call, and it has no exemplars (opentelemetry-js#5147). Readers of the
 * SDK get the series through a `SeriesProducer`.
 */
export class MetricStorage {
  /** Whether anything is measured at all. */
  readonly isOn: boolean
  readonly #metrics = new Map<MetricKey, Map<string, Series>>()
  readonly #exemplars = new WeakMap<Attributes, HistogramSeries['exemplars']>()

  constructor({ isOn = true }: { isOn?: boolean } = {}) {
    this.isOn = isOn
  }

  /**
   * The series of a metric with these labels, opened when there is none.
   *
   * @param labels As they may be shown. Where a metric has too many series already, `_other` stands for every value that
   *   is not of a closed list.
   */
  series(key: MetricKey, labels: Labels): Series {
    let known = this.#metrics.get(key)
    if (!known) {
      known = new Map()
      this.#metrics.set(key, known)
    }
    return known.get(keyOf(labels)) ?? this.#open(key, labels, known)
  }

  /** Forgets every series of a metric; those that were handed out count for nothing any more. */
  forget(key: MetricKey): void {
    this.#metrics.get(key)?.clear()
  }

  /** Metrics that have a series, in the order in which they were first measured. */
  *metrics(): Generator<{ readonly key: MetricKey; readonly metric: MetricDefinition; readonly series: Iterable<Series> }> {
    for (const [key, series] of this.#metrics) if (series.size > 0) yield { key, metric: METRICS[key], series: series.values() }
  }

  /** The series of one metric. */
  of(key: MetricKey): Iterable<Series> {
    return this.#metrics.get(key)?.values() ?? []
  }

  /** Exemplars of a histogram by bucket. @param labels The very object that the series has. */
  exemplarsOf(labels: Attributes): readonly (Exemplar | undefined)[] {
    return this.#exemplars.get(labels) ?? []
  }

  #open(key: MetricKey, labels: Labels, known: Map<string, Series>): Series {
    if (known.size >= MOST_SERIES_PER_METRIC) {
      const folded = foldedLabels(labels)
      const shared = known.get(keyOf(folded))
      if (shared) return shared
      return this.#add(key, folded, known)
    }
    return this.#add(key, labels, known)
  }

  #add(key: MetricKey, labels: Labels, known: Map<string, Series>): Series {
    const metric: MetricDefinition = METRICS[key]
    const series = metric.kind === 'histogram' ? new HistogramSeries(labels, metric.buckets ?? []) : new NumberSeries(labels)
    known.set(keyOf(labels), series)
    if (series instanceof HistogramSeries) this.#exemplars.set(labels, series.exemplars)
    return series
  }
}

function foldedLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([label, value]) => [label, LABELS[label]?.values ? value : OTHER]))
}

function keyOf(labels: Labels): string {
  let key = ''
  for (const label of Object.keys(labels).sort()) key += `\0${label}\0${labels[label]}`
  return key
}
