import type { HrTime, Link, SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { GatewatchEvent } from '../domain/events.ts'
import { attributesOfEvent, attributesOfStep, SPAN_KINDS, STEP_EVENTS, spanKindOf, spanNameOf } from './event-span.ts'
import { type FinishedSpan, hrTimeOf, type ProcessResource, type SpanEvent } from './finished-span.ts'
import { withoutState } from './redaction-processor.ts'

/** Values of OpenTelemetry's enum: a watched process does not load the API for them. */
const UNSET: SpanStatusCode.UNSET = 0
const ERROR: SpanStatusCode.ERROR = 2
const SAMPLED = 1

/** What the spans of a process have in common. */
export interface SpanOrigin {
  readonly resource: ProcessResource
  readonly scope: FinishedSpan['instrumentationScope']
}

/** What a span says in addition to its event. */
export interface SpanPlace {
  readonly traceFlags: number
  readonly parent?: SpanContext | undefined
  /** Steps and links beyond the limits of a span. */
  readonly droppedSteps?: number
  readonly droppedLinks?: number
}

/** The span of an event that has ended: everything that exporters see of it. */
export class SpanOfEvent implements FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly parentSpanContext?: SpanContext
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended = true
  readonly status: FinishedSpan['status']
  readonly attributes: FinishedSpan['attributes']
  readonly links: Link[]
  readonly events: SpanEvent[]
  readonly resource: ProcessResource
  readonly instrumentationScope: FinishedSpan['instrumentationScope']
  readonly droppedAttributesCount = 0
  readonly droppedEventsCount: number
  readonly droppedLinksCount: number
  readonly #context: { traceId: string; spanId: string; traceFlags: number }

  /** @param event Redacted. */
  constructor(event: GatewatchEvent, { resource, scope }: SpanOrigin, place: SpanPlace) {
    const { startMs, durationMs, traceId, spanId, isError } = event
    this.name = spanNameOf(event) ?? event.kind
    this.kind = SPAN_KINDS[spanKindOf(event)]
    if (place.parent) this.parentSpanContext = withoutState(place.parent)
    this.#context = { traceId, spanId, traceFlags: place.traceFlags }
    this.startTime = hrTimeOf(startMs)
    this.endTime = hrTimeOf(startMs + durationMs)
    this.duration = hrTimeOf(durationMs)
    this.status = { code: isError ? ERROR : UNSET }
    this.attributes = attributesOfEvent(event)
    this.events = event.steps.map(step => ({ name: STEP_EVENTS[step.name], time: hrTimeOf(step.atMs), attributes: attributesOfStep(step) }))
    this.links = event.links.map(link => ({ context: { ...link, traceFlags: SAMPLED } }))
    this.resource = resource
    this.instrumentationScope = scope
    this.droppedEventsCount = place.droppedSteps ?? 0
    this.droppedLinksCount = place.droppedLinks ?? 0
  }

  readonly spanContext = (): SpanContext => this.#context

  /** What the sampler decided. */
  sample(isSampled: boolean): void {
    this.#context.traceFlags = isSampled ? this.#context.traceFlags | SAMPLED : this.#context.traceFlags & ~SAMPLED
  }
}
