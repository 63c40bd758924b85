import { isSpanContextValid, type SpanContext, TraceFlags, trace } from '@opentelemetry/api'
import { type Labels as LabelValues, METRICS, type MetricDefinition, type MetricKey } from '../../otel/semconv.ts'
import { secretChanges } from '../tools/secret-registry.ts'
import { activeContext } from './active-context.ts'
import type { HostMeter } from './host-meter.ts'
import { LabelLimiter, type LabelPolicy, labelReducer } from './labels.ts'
import { type HistogramSeries, type MetricStorage, mergeGauge, type NumberSeries, type Series } from './metric-storage.ts'

type KeysOf<Kind extends MetricDefinition['kind']> = { [K in MetricKey]: (typeof METRICS)[K]['kind'] extends Kind ? K : never }[MetricKey]
export type CounterKey = KeysOf<'counter'>
export type HistogramKey = KeysOf<'histogram'>
export type GaugeKey = KeysOf<'gauge'>

/** Values for the labels a metric declares; a label left out is absent from the series (`error.type` on success). */
export type LabelsOf<K extends MetricKey> = { [L in (typeof METRICS)[K]['labels'][number]]?: string | number | undefined }

type Asked = Readonly<Record<string, string | number | undefined>>

/** Series by the values that were asked for, one level for each label in the order of its declaration. */
type Known = Map<string | number | undefined, Known | Series>

const MOST_KNOWN_SERIES = 10_000

interface InstrumentsOptions {
  /** The meter of the process this is a guest in. @default none, the process is our own */
  readonly host?: HostMeter | undefined
  readonly labels?: LabelPolicy | undefined
}

/** Every metric of `otel/semconv.ts`, with labels checked and bounded, and an exemplar kept for each bucket of a histogram. */
export class Instruments {
  readonly #storage: MetricStorage
  readonly #labels: LabelLimiter
  readonly #host: HostMeter | undefined
  readonly #reduced: ReturnType<typeof labelReducer>
  /** So that the plain case costs a few look-ups and no new string. */
  readonly #known = new Map<MetricKey, Known>()
  #knownSeries = 0
  #knownAt = secretChanges()

  constructor(storage: MetricStorage, { host, labels = {} }: InstrumentsOptions = {}) {
    this.#storage = storage
    this.#host = host
    this.#reduced = labelReducer(labels)
    this.#labels = new LabelLimiter(label => this.add('labelOverflows', { label }))
  }

  /** Adds to a counter. */
  add<K extends CounterKey>(key: K, labels: LabelsOf<K>, by = 1): void {
    if (!this.#storage.isOn || !(by >= 0)) return
    ;(this.#find(key, labels) as NumberSeries).value += by
  }

  /**
   * Records into a histogram.
   *
   * @param measuredIn The span that was measured: it becomes the exemplar of its bucket. @default the active one
   */
  record<K extends HistogramKey>(
    key: K,
    value: number,
    labels: LabelsOf<K>,
    measuredIn: SpanContext | undefined = trace.getSpanContext(activeContext()),
  ): void {
    if (!this.#storage.isOn) return
    const traceId = measuredIn && isFindable(measuredIn) ? measuredIn.traceId : undefined
    const series = this.#find(key, labels) as HistogramSeries
    series.record(value, traceId)
    this.#host?.record(key, value, series.labels)
  }

  /**
   * Begins a new observation of gauges: their series so far are forgotten, so that none stays of what is not there any
   * more. What is to be seen must be set before anything waits. Of several values with the same labels, those of a group of
   * profiles, one stands for all (`merge` of the metric).
   */
  observe(keys: readonly GaugeKey[]): Pick<Instruments, 'set'> {
    for (const key of keys) this.#storage.forget(key)
    const seen = new Set<Series>()
    return {
      set: (key, value, labels) => {
        if (!this.#storage.isOn) return
        const series = this.#find(key, labels) as NumberSeries
        series.value = seen.has(series) ? mergeGauge(key, series.value, value) : value
        seen.add(series)
      },
    }
  }

  /** Sets a gauge. */
  set<K extends GaugeKey>(key: K, value: number, labels: LabelsOf<K>): void {
    if (this.#storage.isOn) (this.#find(key, labels) as NumberSeries).value = value
  }

  #find(key: MetricKey, given: Asked): Series {
    const asked = this.#reduced ? this.#reduced(given) : given
    if (this.#knownAt !== secretChanges()) this.#forget()
    let known: Known | Series | undefined = this.#known.get(key)
    for (const label of METRICS[key].labels) {
      if (!(known instanceof Map)) break
      known = known.get(asked[label])
    }
    return known === undefined || known instanceof Map ? this.#open(key, asked) : known
  }

  /** A key or token came into use: a value shown before may hold it. */
  #forget(): void {
    this.#knownAt = secretChanges()
    this.#known.clear()
    this.#knownSeries = 0
  }

  #open(key: MetricKey, asked: Asked): Series {
    const labels: LabelValues = {}
    let isAsAsked = true
    for (const label in asked) {
      const value = asked[label]
      if (value === undefined) continue
      const shown = this.#labels.value(label, value)
      labels[label] = shown
      isAsAsked &&= shown === String(value)
    }
    const series = this.#storage.series(key, labels)
    // What was changed may have been a secret or past the cap: it is looked at, and counted, each time.
    // The series of a gauge are forgotten with its next observation.
    const isLasting = METRICS[key].kind !== 'gauge'
    if (isAsAsked && isLasting && this.#knownSeries < MOST_KNOWN_SERIES) this.#remember(key, asked, series)
    return series
  }

  #remember(key: MetricKey, asked: Asked, series: Series): void {
    const names: readonly string[] = METRICS[key].labels
    const last = names.at(-1)
    if (last === undefined) return
    this.#knownSeries += 1
    let known = below(this.#known, key)
    for (const name of names.slice(0, -1)) known = below(known, asked[name])
    known.set(asked[last], series)
  }
}

/** The next level, made when it is not there yet. */
function below<Value>(known: Map<Value, Known> | Map<Value, Known | Series>, value: Value): Known {
  const next = known.get(value)
  if (next instanceof Map) return next
  const made: Known = new Map()
  known.set(value, made)
  return made
}

/** Sampled ones only: an exemplar must lead to a trace that can be found. */
function isFindable(spanContext: SpanContext): boolean {
  return (spanContext.traceFlags & TraceFlags.SAMPLED) !== 0 && isSpanContextValid(spanContext)
}
