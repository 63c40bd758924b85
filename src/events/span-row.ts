import { type Attributes, type HrTime, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { FinishedSpan } from '../telemetry/finished-span.ts'
import type { ProcessRow } from './process-row.ts'

/** A finished span as plain data: , immutable, fit for JSON. Times are epoch milliseconds. */
export interface SpanRow {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  readonly startMs: number
  readonly durationMs: number
  readonly status: 'ok' | 'error' | 'unset'
  readonly attributes: Readonly<Attributes>
  readonly events: readonly EventRow[]
  readonly links: readonly LinkRow[]
  /** The process that recorded it, where a store holds several. */
  readonly process?: ProcessRow
}

export interface EventRow {
  readonly name: string
  readonly atMs: number
  readonly attributes: Readonly<Attributes>
}

export interface LinkRow {
  readonly traceId: string
  readonly spanId: string
  readonly attributes: Readonly<Attributes>
}

const KINDS = {
  [SpanKind.INTERNAL]: 'internal',
  [SpanKind.SERVER]: 'server',
  [SpanKind.CLIENT]: 'client',
  [SpanKind.PRODUCER]: 'producer',
  [SpanKind.CONSUMER]: 'consumer',
} as const satisfies Record<SpanKind, SpanRow['kind']>

const STATUSES = {
  [SpanStatusCode.UNSET]: 'unset',
  [SpanStatusCode.OK]: 'ok',
  [SpanStatusCode.ERROR]: 'error',
} as const satisfies Record<SpanStatusCode, SpanRow['status']>

const NO_EVENTS: readonly EventRow[] = []
const NO_LINKS: readonly LinkRow[] = []
const NO_ATTRIBUTES: Readonly<Attributes> = {}

/** The row of a span. Takes over its attribute objects: a redacted span has them for itself. */
export function rowOf(span: FinishedSpan): SpanRow {
  const { traceId, spanId } = span.spanContext()
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    kind: KINDS[span.kind],
    startMs: milliseconds(span.startTime),
    durationMs: milliseconds(span.duration),
    status: STATUSES[span.status.code],
    attributes: span.attributes,
    events:
      span.events.length === 0
        ? NO_EVENTS
        : span.events.map(({ name, time, attributes = NO_ATTRIBUTES }) => ({ name, atMs: milliseconds(time), attributes })),
    links:
      span.links.length === 0
        ? NO_LINKS
        : span.links.map(({ context, attributes = NO_ATTRIBUTES }) => ({ traceId: context.traceId, spanId: context.spanId, attributes })),
  }
}

function milliseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1000 + nanoseconds / 1_000_000
}
