import { TraceFlags } from '@opentelemetry/api'
import type { AcquireEvent, GatewatchEvent } from '../domain/events.ts'
import type { FinishedSpanProcessor } from './finished-span.ts'
import { EventRedactor } from './redaction-event.ts'
import type { OnDropped } from './redaction-processor.ts'
import { finishedSpanOf, type SpanOrigin, type SpanPlace } from './span-of-event.ts'

/** Takes events: `EventStore`. */
export interface EventSink {
  /** Takes an event that has ended. */
  take(event: GatewatchEvent): void
  /** Takes an acquisition that is not kept and only counts. */
  count(event: AcquireEvent): void
  flush(): Promise<void>
  shutdown(): Promise<void>
}

interface EventOutletOptions extends SpanOrigin {
  /** @default none */
  readonly sink?: EventSink | undefined
  /** Get a span of each event of a trace that is exported. @default none */
  readonly exporters?: readonly Pick<FinishedSpanProcessor, 'onEnd'>[]
  readonly onDropped: OnDropped
  /** No text of an event becomes longer than this. */
  readonly longestValue?: number | undefined
}

/**
 * The way of an event of this process that has ended: redacted once, it goes to the event store, and as a span to exporters. What
 * cannot be redacted is dropped and counted. Nothing is thrown in here.
 */
export class EventOutlet {
  readonly #options: EventOutletOptions
  readonly #redactor: EventRedactor

  constructor(options: EventOutletOptions) {
    this.#options = options
    this.#redactor = new EventRedactor(options.longestValue === undefined ? {} : { longest: options.longestValue })
  }

  /** Takes an event that has ended and whose trace is wanted. */
  onEnd(ended: GatewatchEvent, place: SpanPlace): void {
    const event = this.#redacted(ended)
    if (!event) return
    const { sink, exporters = [] } = this.#options
    if (sink) this.#pass('event_store', () => sink.take(event))
    if (exporters.length === 0 || (place.traceFlags & TraceFlags.SAMPLED) === 0) return
    this.#pass('export', () => {
      const span = finishedSpanOf(event, this.#options, place)
      for (const exporter of exporters) exporter.onEnd(span)
    })
  }

  /** Takes an acquisition whose trace is not wanted, and which counts all the same. */
  onCounted(counted: AcquireEvent): void {
    const { sink } = this.#options
    const event = sink && this.#redacted(counted)
    if (event) this.#pass('event_store', () => sink.count(event))
  }

  #redacted<E extends GatewatchEvent>(given: E): E | undefined {
    try {
      const { event, refused } = this.#redactor.event(given)
      if (refused > 0) this.#options.onDropped('attribute', refused)
      return event
    } catch {
      this.#options.onDropped('attribute', 1)
      return undefined
    }
  }

  #pass(place: 'event_store' | 'export', work: () => void): void {
    try {
      work()
    } catch {
      this.#options.onDropped(place, 1)
    }
  }
}
