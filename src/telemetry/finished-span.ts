import type { Attributes, HrTime, Link, SpanContext, SpanKind, SpanStatus } from '@opentelemetry/api'

/** What a process says about itself. */
export interface ProcessResource {
  readonly attributes: Attributes
}

/** Something that happened in a span. */
interface SpanEvent {
  readonly name: string
  readonly time: HrTime
  readonly attributes?: Attributes
  readonly droppedAttributesCount?: number
}

/**
 * A span that has ended: the fields of `ReadableSpan` of the OpenTelemetry SDK, of which the library loads nothing, not even
 * its types.
 */
export interface FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly spanContext: () => SpanContext
  readonly parentSpanContext?: SpanContext
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended: boolean
  readonly status: SpanStatus
  readonly attributes: Attributes
  readonly links: Link[]
  readonly events: SpanEvent[]
  readonly resource: ProcessResource
  readonly instrumentationScope: { readonly name: string; readonly version?: string }
  readonly droppedAttributesCount: number
  readonly droppedEventsCount: number
  readonly droppedLinksCount: number
}

/** Takes spans that have ended: the part of the SDK's `SpanProcessor` that the library needs. */
export interface FinishedSpanProcessor {
  onEnd(span: FinishedSpan): void
  forceFlush(): Promise<void>
  shutdown(): Promise<void>
}

/** A time of milliseconds, whole or not, as OpenTelemetry writes it: seconds and nanoseconds. */
export function hrTimeOf(milliseconds: number): HrTime {
  return [Math.trunc(milliseconds / 1000), Math.round((milliseconds % 1000) * 1e6)]
}
