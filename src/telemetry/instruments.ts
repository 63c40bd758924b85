import {
  type Counter,
  context,
  type Gauge,
  type Histogram,
  isSpanContextValid,
  type Meter,
  type SpanContext,
  TraceFlags,
  trace,
  ValueType,
} from '@opentelemetry/api'
import { type Labels as LabelValues, METRICS, type MetricDefinition, type MetricKey } from '../../otel/names.ts'
import { hiddenTextChanges } from '../tools/hidden-texts.ts'
import { type ExemplarSlots, type Exemplars, exemplarsOf, keepExemplar } from './exemplars.ts'
import { Labels } from './labels.ts'

type KeysOf<Kind extends MetricDefinition['kind']> = { [K in MetricKey]: (typeof METRICS)[K]['kind'] extends Kind ? K : never }[MetricKey]
export type CounterKey = KeysOf<'counter'>
export type HistogramKey = KeysOf<'histogram'>
export type GaugeKey = KeysOf<'gauge'>

/** Values for the labels a metric declares; a label left out is absent from the series (`error.type` on success). */
export type LabelsOf<K extends MetricKey> = { [L in (typeof METRICS)[K]['labels'][number]]?: string | number | undefined }

/** One series of a metric: its labels as they may be shown, and where its exemplars are kept. */
interface Series {
  readonly labels: LabelValues
  readonly exemplars?: ExemplarSlots
}

const MOST_KNOWN_SERIES = 10_000

/**
 * Every instrument of `otel/names.ts`, with labels checked and bounded, and an exemplar kept for each histogram series.
 *
 * The OpenTelemetry SDK for JavaScript has no exemplars (opentelemetry-js#5147), so they are kept here and joined to the
 * points when `/metrics` is written.
 */
export class Instruments {
  readonly #exemplars: Exemplars
  readonly #labels: Labels
  readonly #instruments: Record<string, Counter | Histogram | Gauge> = {}
  /** Series by the values that were asked for, so that the plain case costs one look-up. */
  readonly #series = new Map<MetricKey, Map<string, Series>>()
  #seriesKnownAt = hiddenTextChanges()

  constructor(meter: Meter) {
    this.#exemplars = exemplarsOf(meter)
    for (const [key, metric] of Object.entries(METRICS) as [MetricKey, MetricDefinition][]) {
      this.#instruments[key] = make(meter, metric)
      this.#series.set(key, new Map())
    }
    this.#labels = new Labels(label => this.add('labelOverflows', { label }))
  }

  /** Adds to a counter. */
  add<K extends CounterKey>(key: K, labels: LabelsOf<K>, by = 1): void {
    ;(this.#instruments[key] as Counter).add(by, this.#find(key, labels).labels)
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
    measuredIn: SpanContext | undefined = trace.getSpanContext(context.active()),
  ): void {
    const series = this.#find(key, labels)
    ;(this.#instruments[key] as Histogram).record(value, series.labels)
    if (series.exemplars && measuredIn && isFindable(measuredIn)) keepExemplar(series.exemplars, METRICS[key], value, measuredIn.traceId)
  }

  /** Sets a gauge. */
  set<K extends GaugeKey>(key: K, value: number, labels: LabelsOf<K>): void {
    ;(this.#instruments[key] as Gauge).record(value, this.#find(key, labels).labels)
  }

  #find(key: MetricKey, labels: Readonly<Record<string, string | number | undefined>>): Series {
    const known = this.#knownSeries(key)
    let asked = ''
    for (const label of METRICS[key].labels) asked += `${labels[label] ?? ''}\0`
    return known.get(asked) ?? this.#open(key, labels, known, asked)
  }

  /** Empty again when a key or token came into use: a value shown before may hold it. */
  #knownSeries(key: MetricKey): Map<string, Series> {
    if (this.#seriesKnownAt !== hiddenTextChanges()) {
      this.#seriesKnownAt = hiddenTextChanges()
      for (const known of this.#series.values()) known.clear()
    }
    return this.#series.get(key) as Map<string, Series>
  }

  #open(
    key: MetricKey,
    asked: Readonly<Record<string, string | number | undefined>>,
    known: Map<string, Series>,
    askedKey: string,
  ): Series {
    const labels: LabelValues = {}
    let isAsAsked = true
    for (const label in asked) {
      const value = asked[label]
      if (value === undefined) continue
      const shown = this.#labels.value(label, value)
      labels[label] = shown
      isAsAsked &&= shown === String(value)
    }
    const exemplars = METRICS[key].kind === 'histogram' ? this.#exemplars.slotsOf(METRICS[key].name, labels) : undefined
    const series: Series = { labels, ...(exemplars && { exemplars }) }
    // What was changed may have been a secret or past the cap: it is looked at, and counted, each time.
    if (isAsAsked && known.size < MOST_KNOWN_SERIES) known.set(askedKey, series)
    return series
  }
}

/** Sampled ones only: an exemplar must lead to a trace that can be found. */
function isFindable(spanContext: SpanContext): boolean {
  return isSpanContextValid(spanContext) && (spanContext.traceFlags & TraceFlags.SAMPLED) !== 0
}

function make(meter: Meter, metric: MetricDefinition): Counter | Histogram | Gauge {
  const options = { description: metric.help, unit: metric.unit }
  switch (metric.kind) {
    case 'counter':
      return meter.createCounter(metric.name, { ...options, valueType: ValueType.INT })
    case 'histogram':
      return meter.createHistogram(metric.name, { ...options, advice: { explicitBucketBoundaries: [...(metric.buckets ?? [])] } })
    case 'gauge':
      return meter.createGauge(metric.name, options)
    default:
      return metric.kind satisfies never
  }
}
