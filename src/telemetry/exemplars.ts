import type { Meter } from '@opentelemetry/api'
import type { Labels, MetricDefinition } from '../../otel/names.ts'

/** One measured value with the trace it was measured in. */
export interface Exemplar {
  readonly value: number
  readonly traceId: string
  /** Epoch milliseconds. */
  readonly at: number
}

/** Series kept at the most; the labels are capped already, this is the second lock on the door. */
const MOST_SERIES = 5_000

/** The last exemplar of each bucket of each histogram series. */
export class Exemplars {
  readonly #series = new Map<string, (Exemplar | undefined)[]>()

  /** Remembers `value` as the newest of its bucket. */
  keep(metric: MetricDefinition, labels: Labels, value: number, traceId: string): void {
    const key = seriesKey(metric.name, labels)
    let buckets = this.#series.get(key)
    if (!buckets) {
      if (this.#series.size >= MOST_SERIES) return
      buckets = []
      this.#series.set(key, buckets)
    }
    buckets[bucketOf(metric.buckets ?? [], value)] = { value, traceId, at: Date.now() }
  }

  /** The exemplars of one series by bucket; the last bucket is `+Inf`. */
  of(metricName: string, labels: Labels): readonly (Exemplar | undefined)[] {
    return this.#series.get(seriesKey(metricName, labels)) ?? []
  }
}

const byMeter = new WeakMap<Meter, Exemplars>()

/**
 * The exemplars of the series that `meter` holds.
 *
 * They belong to the meter, as the series do: whoever records into it and whoever writes `/metrics` from it meet here.
 */
export function exemplarsOf(meter: Meter): Exemplars {
  let exemplars = byMeter.get(meter)
  if (!exemplars) {
    exemplars = new Exemplars()
    byMeter.set(meter, exemplars)
  }
  return exemplars
}

/** Index of the bucket `value` falls into; bounds are inclusive, as in OpenMetrics. */
function bucketOf(bounds: readonly number[], value: number): number {
  let index = 0
  while (index < bounds.length && value > (bounds[index] as number)) index += 1
  return index
}

function seriesKey(name: string, labels: Labels): string {
  let key = name
  for (const label of Object.keys(labels).sort()) key += `\0${label}\0${labels[label]}`
  return key
}
