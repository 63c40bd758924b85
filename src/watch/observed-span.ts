import type { HrTime, Link, SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { SCOPE } from '../../otel/semconv.ts'
import { attributesOfEvent, attributesOfStep, SPAN_KINDS, STEP_EVENTS, spanKindOf, spanNameOf } from '../telemetry/event-span.ts'
import { type FinishedSpan, hrTimeOf, type ProcessResource, type SpanEvent } from '../telemetry/finished-span.ts'
import type { Observation } from './observation.ts'

/** Values of OpenTelemetry's enum: the API is not loaded for them. */
const UNSET: SpanStatusCode.UNSET = 0
const ERROR: SpanStatusCode.ERROR = 2
const SAMPLED = 1
const NO_RESOURCE = { attributes: {} } as ProcessResource

/**
 * What was observed, as a span that has ended: a child of the host's span, with the times of the observation.
 *
 * Made by hand: nothing of OpenTelemetry's is loaded or registered in a watched process for the event store.
 */
export class ObservedSpan implements FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly parentSpanContext?: SpanContext
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended = true
  readonly status: FinishedSpan['status']
  readonly attributes: FinishedSpan['attributes']
  readonly links: Link[] = []
  readonly events: SpanEvent[]
  readonly instrumentationScope = { name: SCOPE }
  readonly droppedAttributesCount = 0
  readonly droppedEventsCount = 0
  readonly droppedLinksCount = 0
  /** Set by the exporter. */
  resource: ProcessResource = NO_RESOURCE
  #traceId: string
  #spanId: string
  #flags: number

  constructor({ event, parent }: Observation) {
    const { startMs, durationMs, isError } = event
    this.name = spanNameOf(event) ?? event.kind
    this.kind = SPAN_KINDS[spanKindOf(event)]
    if (parent) this.parentSpanContext = { ...parent }
    this.#traceId = event.traceId
    this.#spanId = event.spanId
    this.#flags = parent?.traceFlags ?? SAMPLED
    this.startTime = hrTimeOf(startMs)
    this.endTime = hrTimeOf(startMs + durationMs)
    this.duration = hrTimeOf(durationMs)
    this.status = { code: isError ? ERROR : UNSET }
    this.attributes = attributesOfEvent(event)
    this.events = event.steps.map(step => ({ name: STEP_EVENTS[step.name], time: hrTimeOf(step.atMs), attributes: attributesOfStep(step) }))
  }

  spanContext(): SpanContext {
    return { traceId: this.#traceId, spanId: this.#spanId, traceFlags: this.#flags }
  }

  /** It is that span of the host. */
  identify({ traceId, spanId, traceFlags }: SpanContext): void {
    this.#traceId = traceId
    this.#spanId = spanId
    this.#flags = traceFlags
  }

  /** What the sampler decided. */
  sample(isSampled: boolean): void {
    this.#flags = isSampled ? this.#flags | SAMPLED : this.#flags & ~SAMPLED
  }
}
