import { type Attributes, type HrTime, SpanStatusCode } from '@opentelemetry/api'
import type { AcquireEvent } from '../domain/events.ts'
import { type EventSpan, eventOfSpan, SPAN_KINDS } from '../telemetry/event-span.ts'
import type { FinishedSpan } from '../telemetry/finished-span.ts'
import type { RedactedProcessor } from '../telemetry/redaction-processor.ts'
import type { EventStore } from './event-store.ts'

const KINDS = Object.keys(SPAN_KINDS) as (keyof typeof SPAN_KINDS)[]
const STATUSES = {
  [SpanStatusCode.UNSET]: 'unset',
  [SpanStatusCode.OK]: 'ok',
  [SpanStatusCode.ERROR]: 'error',
} as const satisfies Record<SpanStatusCode, EventSpan['status']>

/**
 * Feeds a store from finished spans, as long as producers make spans and no events. Must stand behind `RedactingSpanProcessor`.
 */
export class SpanEvents implements RedactedProcessor {
  readonly #store: EventStore

  constructor(store: EventStore) {
    this.#store = store
  }

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: FinishedSpan): void {
    const event = eventOfSpan(eventSpanOf(span))
    if (event) this.#store.take(event)
  }

  /** Counts an acquisition of a trace that is not kept. */
  onForgotten(name: string, attributes: Readonly<Attributes>): void {
    const span = { traceId: '', spanId: '', parentSpanId: undefined, startMs: Date.now(), durationMs: 0 }
    const event = eventOfSpan({ ...span, name, kind: 'internal', status: 'unset', attributes, events: [], links: [] })
    if (event?.kind === 'acquire') this.#store.count(event satisfies AcquireEvent)
  }

  forceFlush(): Promise<void> {
    return this.#store.flush()
  }

  shutdown(): Promise<void> {
    return this.#store.shutdown()
  }
}

/** A finished span as an event is read from it. Takes over its attribute objects: a redacted span has them for itself. */
export function eventSpanOf(span: FinishedSpan): EventSpan {
  const { traceId, spanId } = span.spanContext()
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: KINDS[span.kind] ?? 'internal',
    startMs: milliseconds(span.startTime),
    durationMs: milliseconds(span.duration),
    status: STATUSES[span.status.code],
    attributes: span.attributes,
    events: span.events.map(({ name, time, attributes = {} }) => ({ name, atMs: milliseconds(time), attributes })),
    links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
  }
}

function milliseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1000 + nanoseconds / 1_000_000
}
