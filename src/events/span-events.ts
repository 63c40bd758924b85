import { type Attributes, type HrTime, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { AcquireEvent } from '../domain/events.ts'
import { type EventSpan, eventOfSpan } from '../telemetry/event-span.ts'
import type { FinishedSpan } from '../telemetry/finished-span.ts'
import type { RedactedProcessor } from '../telemetry/redaction-processor.ts'
import type { EventStore } from './event-store.ts'

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

const SPAN_KINDS = {
  [SpanKind.INTERNAL]: 'internal',
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
  [SpanKind.PRODUCER]: 'producer',
  [SpanKind.CONSUMER]: 'consumer',
} as const satisfies Record<SpanKind, EventSpan['kind']>

const SPAN_STATUSES = {
  [SpanStatusCode.UNSET]: 'unset',
  [SpanStatusCode.OK]: 'ok',
  [SpanStatusCode.ERROR]: 'error',
} as const satisfies Record<SpanStatusCode, EventSpan['status']>

function eventSpanOf(span: FinishedSpan): EventSpan {
  const { traceId, spanId } = span.spanContext()
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: SPAN_KINDS[span.kind],
    startMs: epochMs(span.startTime),
    durationMs: epochMs(span.duration),
    status: SPAN_STATUSES[span.status.code],
    attributes: span.attributes,
    events: span.events.map(({ name, time, attributes = {} }) => ({ name, atMs: epochMs(time), attributes })),
    links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
  }
}

function epochMs([seconds, nanoseconds]: HrTime): number {
  return seconds * 1000 + nanoseconds / 1_000_000
}
