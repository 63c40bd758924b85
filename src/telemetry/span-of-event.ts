import type { SpanContext, SpanStatusCode } from '@opentelemetry/api'
import type { GatewatchEvent } from '../domain/events.ts'
import { attributesOfEvent, attributesOfStep, SPAN_KINDS, STEP_EVENTS, spanKindOf, spanNameOf } from './event-span.ts'
import { type FinishedSpan, hrTimeOf, type ProcessResource } from './finished-span.ts'
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

/** The span of an event that has ended: everything that exporters see of it. @param event Redacted. */
export function finishedSpanOf(event: GatewatchEvent, { resource, scope }: SpanOrigin, place: SpanPlace): FinishedSpan {
  const { startMs, durationMs, traceId, spanId, isError } = event
  const { traceFlags, parent, droppedSteps = 0, droppedLinks = 0 } = place
  const context = { traceId, spanId, traceFlags }
  return {
    name: spanNameOf(event) ?? event.kind,
    kind: SPAN_KINDS[spanKindOf(event)],
    spanContext: () => context,
    ...(parent && { parentSpanContext: withoutState(parent) }),
    startTime: hrTimeOf(startMs),
    endTime: hrTimeOf(startMs + durationMs),
    duration: hrTimeOf(durationMs),
    ended: true,
    status: { code: isError ? ERROR : UNSET },
    attributes: attributesOfEvent(event),
    events: event.steps.map(step => ({ name: STEP_EVENTS[step.name], time: hrTimeOf(step.atMs), attributes: attributesOfStep(step) })),
    links: event.links.map(link => ({ context: { ...link, traceFlags: SAMPLED } })),
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: droppedSteps,
    droppedLinksCount: droppedLinks,
  }
}
