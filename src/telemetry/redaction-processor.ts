import type { HrTime, Link, SpanContext, SpanKind, SpanStatus } from '@opentelemetry/api'
import type { DropPlace } from '../domain/enums.ts'
import type { FinishedSpan, FinishedSpanProcessor, SpanEvent } from './finished-span.ts'
import { AttributeRedactor } from './redaction-attributes.ts'

/** Notified of everything that does not get through. Must not throw. */
export type OnDropped = (place: DropPlace, count: number) => void

/** A processor behind the choke point, and the place a span is lost at when it fails. */
interface InnerProcessor {
  readonly processor: FinishedSpanProcessor
  readonly place: DropPlace
}

interface RedactingSpanProcessorOptions {
  onDropped: OnDropped
  /** Longest value of any attribute, in characters; the classes' own limits hold too. @default none */
  longestValue?: number
}

/**
 * The choke point between spans of other code in a process of ours and whatever sends them; fail-closed. Our own spans are
 * written from events that are redacted already.
 *
 * The processors inside never see a span as the code set it, only a `RedactedSpan`, and see it only when it has ended.
 * A span that cannot be screened is dropped and counted. Nothing thrown in here, or further in, reaches the host.
 */
export class RedactingSpanProcessor implements FinishedSpanProcessor {
  readonly #inner: readonly InnerProcessor[]
  readonly #onDropped: OnDropped
  readonly #screen: AttributeRedactor

  constructor(inner: readonly InnerProcessor[], { onDropped, longestValue }: RedactingSpanProcessorOptions) {
    this.#inner = inner
    this.#onDropped = onDropped
    this.#screen = new AttributeRedactor(longestValue === undefined ? {} : { longest: longestValue })
  }

  onStart(): void {
    // Not passed on: a span that has just started is not screened.
  }

  onEnd(span: FinishedSpan): void {
    let redacted: RedactedSpan
    try {
      redacted = new RedactedSpan(span, this.#screen)
    } catch {
      this.#onDropped('attribute', 1)
      return
    }
    if (redacted.refused > 0) this.#onDropped('attribute', redacted.refused)
    for (const { processor, place } of this.#inner) {
      try {
        processor.onEnd(redacted)
      } catch {
        this.#onDropped(place, 1)
      }
    }
  }

  async forceFlush(): Promise<void> {
    await Promise.all(this.#inner.map(({ processor }) => processor.forceFlush()))
  }

  async shutdown(): Promise<void> {
    await Promise.all(this.#inner.map(({ processor }) => processor.shutdown()))
  }
}

/**
 * A span as it may be seen outside: built again from what passed the screen, so that an unforeseen field stays inside.
 *
 * Gone are the status message (error texts may hold anything), `tracestate` (it comes from a request's header) and
 * every attribute that is not in `otel/semconv.ts`, those of `exception` events among them.
 */
class RedactedSpan implements FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly parentSpanContext?: SpanContext
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended = true
  readonly status: SpanStatus
  readonly attributes: FinishedSpan['attributes']
  readonly links: Link[]
  readonly events: SpanEvent[]
  readonly resource: FinishedSpan['resource']
  readonly instrumentationScope: FinishedSpan['instrumentationScope']
  readonly droppedAttributesCount: number
  readonly droppedEventsCount: number
  readonly droppedLinksCount: number
  readonly spanContext: () => SpanContext
  /** Attributes that did not pass, on the span, its events and its links. */
  readonly refused: number

  constructor(span: FinishedSpan, screen: AttributeRedactor) {
    const { attributes, dropped } = screen.attributes(span.attributes)
    let refused = dropped
    this.name = screen.name(span.name)
    this.kind = span.kind
    const context = withoutState(span.spanContext())
    this.spanContext = () => context
    if (span.parentSpanContext) this.parentSpanContext = withoutState(span.parentSpanContext)
    this.startTime = span.startTime
    this.endTime = span.endTime
    this.duration = span.duration
    this.status = { code: span.status.code }
    this.attributes = attributes
    this.events = span.events.map(event => {
      const screened = screen.attributes(event.attributes)
      refused += screened.dropped
      return {
        name: screen.name(event.name),
        time: event.time,
        attributes: screened.attributes,
        droppedAttributesCount: (event.droppedAttributesCount ?? 0) + screened.dropped,
      }
    })
    this.links = span.links.map(link => {
      const screened = screen.attributes(link.attributes)
      refused += screened.dropped
      return {
        context: withoutState(link.context),
        attributes: screened.attributes,
        droppedAttributesCount: (link.droppedAttributesCount ?? 0) + screened.dropped,
      }
    })
    this.resource = span.resource
    this.instrumentationScope = span.instrumentationScope
    this.droppedAttributesCount = span.droppedAttributesCount + dropped
    this.droppedEventsCount = span.droppedEventsCount
    this.droppedLinksCount = span.droppedLinksCount
    this.refused = refused
  }
}

/** `tracestate` comes from a request's header: it may hold anything. */
export function withoutState({ traceId, spanId, traceFlags, isRemote }: SpanContext): SpanContext {
  return isRemote === undefined ? { traceId, spanId, traceFlags } : { traceId, spanId, traceFlags, isRemote }
}
