import type { Attributes, Context, Counter, Histogram, Meter, Span, SpanContext, SpanStatusCode } from '@opentelemetry/api'
import { METRICS, type MetricDefinition, type MetricKey, SCOPE } from '../../otel/semconv.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import { type EventMeters, measureEvent } from './event-metrics.ts'
import { attributesOfEvent, attributesOfStep, SPAN_KINDS, STEP_EVENTS, spanKindOf, spanNameOf } from './event-span.ts'
import { hrTimeOf } from './finished-span.ts'
import { isEmbedded } from './gatewatches.ts'
import { type HostApi, type HostSpan, hostApi, SPAN_KEY } from './host-span.ts'
import type { CounterKey, HistogramKey, LabelsOf } from './instruments.ts'
import { LabelLimiter } from './labels.ts'

const ERROR: SpanStatusCode.ERROR = 2

/**
 * Passes what was observed to the OpenTelemetry that the watched process has registered itself: its tracer and meter, and so its
 * sampler, processors and exporters. They are read from where the host's copy of the API
 * keeps them: another copy may see nothing of them.
 */
export class HostExport implements EventMeters {
  readonly #labels = new LabelLimiter(() => undefined)
  readonly #instruments = new Map<MetricKey, Counter | Histogram>()
  #meterOf: HostApi['metrics']

  /** Whether the process has registered a tracer provider, and no Gatewatch inside of it passes the same requests there already. */
  get isWanted(): boolean {
    return hostApi()?.trace !== undefined && !isEmbedded()
  }

  /**
   * Makes the host's span of an event that has ended, and counts it.
   *
   * @param event Redacted.
   * @param parent The host's span that was active.
   * @returns The identity of the host's span.
   */
  take(event: GatewatchEvent, parent: HostSpan | undefined): SpanContext | undefined {
    measureEvent(event, this)
    const { startMs, durationMs, steps, isError } = event
    const options = { kind: SPAN_KINDS[spanKindOf(event)], attributes: attributesOfEvent(event), startTime: hrTimeOf(startMs) }
    const made = hostApi()
      ?.trace?.getTracer(SCOPE)
      .startSpan(spanNameOf(event) ?? event.kind, options, contextUnder(parent))
    if (!made) return undefined
    for (const step of steps) made.addEvent(STEP_EVENTS[step.name], attributesOfStep(step), hrTimeOf(step.atMs))
    if (isError) made.setStatus({ code: ERROR })
    made.end(hrTimeOf(startMs + durationMs))
    return made.spanContext()
  }

  add<K extends CounterKey>(key: K, labels: LabelsOf<K>, count = 1): void {
    ;(this.#instrument(key) as Counter | undefined)?.add(count, this.#limited(labels))
  }

  record<K extends HistogramKey>(key: K, value: number, labels: LabelsOf<K>): void {
    ;(this.#instrument(key) as Histogram | undefined)?.record(value, this.#limited(labels))
  }

  #instrument(key: MetricKey): Counter | Histogram | undefined {
    const provider = hostApi()?.metrics
    if (provider !== this.#meterOf) this.#instruments.clear()
    this.#meterOf = provider
    const known = this.#instruments.get(key)
    if (known || !provider) return known
    const made = instrumentOf(provider.getMeter(SCOPE), METRICS[key])
    this.#instruments.set(key, made)
    return made
  }

  #limited(labels: Readonly<Record<string, string | number | undefined>>): Attributes {
    const known = Object.entries(labels).flatMap(([label, value]) =>
      value === undefined ? [] : [[label, this.#labels.value(label, value)]],
    )
    return Object.fromEntries(known)
  }
}

function instrumentOf(meter: Meter, { name, kind, unit, help: description, buckets }: MetricDefinition): Counter | Histogram {
  if (kind !== 'histogram') return meter.createCounter(name, { unit, description })
  return meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries: [...(buckets ?? [])] } })
}

/** A context with a parent and nothing else. */
function contextUnder(parent: SpanContext | undefined): Context {
  const span = parent && { spanContext: () => parent, isRecording: () => false }
  return new PlainContext(new Map(span ? [[SPAN_KEY, span as Pick<Span, 'spanContext' | 'isRecording'>]] : []))
}

/** What `ROOT_CONTEXT` of the API is, which is not loaded. */
class PlainContext implements Context {
  readonly #values: ReadonlyMap<symbol, unknown>

  constructor(values: ReadonlyMap<symbol, unknown>) {
    this.#values = values
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key)
  }

  setValue(key: symbol, value: unknown): Context {
    return new PlainContext(new Map(this.#values).set(key, value))
  }

  deleteValue(key: symbol): Context {
    const values = new Map(this.#values)
    values.delete(key)
    return new PlainContext(values)
  }
}
