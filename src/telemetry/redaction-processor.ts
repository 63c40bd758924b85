import type { SpanContext } from '@opentelemetry/api'
import type { DropPlace } from '../domain/enums.ts'
import type { FinishedSpan, FinishedSpanProcessor } from './finished-span.ts'
import { AttributeRedactor } from './redaction-attributes.ts'

/** Notified of everything that does not get through. Must not throw. */
export type OnDropped = (place: DropPlace, count: number) => void

/** A processor behind the choke point, and the place a span is lost at when it fails. */
interface InnerProcessor {
  readonly processor: FinishedSpanProcessor
  readonly place: DropPlace
}

interface RedactedSpan {
  readonly redacted: FinishedSpan
  /** Attributes that did not pass, on the span, its events and its links. */
  readonly refused: number
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
 * The processors inside never see a span as the code set it, only a redacted one, and see it only when it has ended.
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
    let screened: RedactedSpan
    try {
      screened = redactedSpan(span, this.#screen)
    } catch {
      this.#onDropped('attribute', 1)
      return
    }
    const { redacted, refused } = screened
    if (refused > 0) this.#onDropped('attribute', refused)
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
function redactedSpan(span: FinishedSpan, screen: AttributeRedactor): RedactedSpan {
  const { attributes, dropped } = screen.attributes(span.attributes)
  let refused = dropped
  const context = withoutState(span.spanContext())
  const events = span.events.map(event => {
    const screened = screen.attributes(event.attributes)
    refused += screened.dropped
    return {
      name: screen.name(event.name),
      time: event.time,
      attributes: screened.attributes,
      droppedAttributesCount: (event.droppedAttributesCount ?? 0) + screened.dropped,
    }
  })
  const links = span.links.map(link => {
    const screened = screen.attributes(link.attributes)
    refused += screened.dropped
    return {
      context: withoutState(link.context),
      attributes: screened.attributes,
      droppedAttributesCount: (link.droppedAttributesCount ?? 0) + screened.dropped,
    }
  })
  const redacted = {
    name: screen.name(span.name),
    kind: span.kind,
    spanContext: () => context,
    ...(span.parentSpanContext && { parentSpanContext: withoutState(span.parentSpanContext) }),
    startTime: span.startTime,
    endTime: span.endTime,
    duration: span.duration,
    ended: true,
    status: { code: span.status.code },
    attributes,
    events,
    links,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
    droppedAttributesCount: span.droppedAttributesCount + dropped,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  }
  return { redacted, refused }
}

/** `tracestate` comes from a request's header: it may hold anything. */
export function withoutState({ traceId, spanId, traceFlags, isRemote }: SpanContext): SpanContext {
  return isRemote === undefined ? { traceId, spanId, traceFlags } : { traceId, spanId, traceFlags, isRemote }
}
