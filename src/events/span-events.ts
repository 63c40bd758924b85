import type { Attributes } from '@opentelemetry/api'
import type { AcquireEvent } from '../domain/events.ts'
import { eventOfSpan } from '../telemetry/event-span.ts'
import type { FinishedSpan } from '../telemetry/finished-span.ts'
import type { RedactedProcessor } from '../telemetry/redaction-processor.ts'
import type { EventStore } from './event-store.ts'
import { rowOf } from './span-row.ts'

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
    const event = eventOfSpan(rowOf(span))
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
