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

/** The exemplars of one series by bucket; the last bucket is `+Inf`. */
export type ExemplarSlots = (Exemplar | undefined)[]

/** The last exemplar of each bucket of each histogram series. */
export class Exemplars {
  readonly #series = new Map<string, ExemplarSlots>()

  /** Where the exemplars of a series are kept; `undefined` when there are too many series already. */
  slotsOf(metricName: string, labels: Labels): ExemplarSlots | undefined {
    const key = seriesKey(metricName, labels)
    let slots = this.#series.get(key)
    if (!slots && this.#series.size < MOST_SERIES) {
      slots = []
      this.#series.set(key, slots)
    }
    return slots
  }

  /** What was kept of a series. */
  of(metricName: string, labels: Labels): readonly (Exemplar | undefined)[] {
    return this.#series.get(seriesKey(metricName, labels)) ?? []
  }
}

/** Remembers `value` as the newest of its bucket. */
export function keepExemplar(slots: ExemplarSlots, { buckets = [] }: MetricDefinition, value: number, traceId: string): void {
  slots[bucketOf(buckets, value)] = { value, traceId, at: Date.now() }
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
