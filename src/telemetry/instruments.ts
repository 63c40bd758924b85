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
import { type Exemplars, exemplarsOf } from './exemplars.ts'
import { Labels } from './labels.ts'

type KeysOf<Kind extends MetricDefinition['kind']> = { [K in MetricKey]: (typeof METRICS)[K]['kind'] extends Kind ? K : never }[MetricKey]
export type CounterKey = KeysOf<'counter'>
export type HistogramKey = KeysOf<'histogram'>
export type GaugeKey = KeysOf<'gauge'>

/** Values for the labels a metric declares; a label left out is absent from the series (`error.type` on success). */
export type LabelsOf<K extends MetricKey> = { [L in (typeof METRICS)[K]['labels'][number]]?: string | number | undefined }

/**
 * Every instrument of `otel/names.ts`, with labels checked and bounded, and an exemplar kept for each histogram series.
 *
 * The OpenTelemetry SDK for JavaScript has no exemplars (opentelemetry-js#5147), so they are kept here and joined to the
 * points when `/metrics` is written.
 */
export class Instruments {
  readonly exemplars: Exemplars
  readonly #labels: Labels
  readonly #instruments: Record<string, Counter | Histogram | Gauge> = {}

  constructor(meter: Meter) {
    this.exemplars = exemplarsOf(meter)
    for (const [key, metric] of Object.entries(METRICS) as [MetricKey, MetricDefinition][]) this.#instruments[key] = make(meter, metric)
    this.#labels = new Labels(label => this.add('labelOverflows', { label }))
  }

  /** Adds to a counter. */
  add<K extends CounterKey>(key: K, labels: LabelsOf<K>, by = 1): void {
    ;(this.#instruments[key] as Counter).add(by, this.#bounded(labels))
  }

  /** Records into a histogram. @param measuredIn The span that was measured: it becomes the exemplar of its bucket. @default the active one */
  record<K extends HistogramKey>(
    key: K,
    value: number,
    labels: LabelsOf<K>,
    measuredIn: SpanContext | undefined = trace.getSpanContext(context.active()),
  ): void {
    const bounded = this.#bounded(labels)
    ;(this.#instruments[key] as Histogram).record(value, bounded)
    if (measuredIn && isFindable(measuredIn)) this.exemplars.keep(METRICS[key], bounded, value, measuredIn.traceId)
  }

  /** Sets a gauge. */
  set<K extends GaugeKey>(key: K, value: number, labels: LabelsOf<K>): void {
    ;(this.#instruments[key] as Gauge).record(value, this.#bounded(labels))
  }

  #bounded(labels: Record<string, string | number | undefined>): LabelValues {
    const bounded: LabelValues = {}
    for (const key in labels) {
      const value = labels[key]
      if (value !== undefined) bounded[key] = this.#labels.value(key, value)
    }
    return bounded
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
