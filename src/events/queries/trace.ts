import type { DatabaseSync } from 'node:sqlite'
import type { Attributes, AttributeValue } from '@opentelemetry/api'
import { ATTR_CODE_COLUMN, ATTR_CODE_STACK } from '../../../otel/semconv.ts'
import type { EventProcess, GatewatchEvent } from '../../domain/events.ts'
import { attributesOfEvent, attributesOfStep, STEP_EVENTS, spanNameOf } from '../../telemetry/event-span.ts'
import { EventReader } from '../event-reader.ts'
import type { FrameLine, SpanRole, TraceAnswer, TraceSpan } from './answers.ts'
import { framesOf } from './stack-frames.ts'

/** Spans of one trace; a trace of more is no single call. */
const MOST_SPANS = 1_000
/** Traces that links lead to. */
const MOST_LINKED = 5
/** Of a number that is not whole: seconds come with more digits than any clock has. */
const SHOWN_DIGITS = 6
/** The stack is shown apart from the attributes. */
const SHOWN_ELSEWHERE: ReadonlySet<string> = new Set([ATTR_CODE_STACK, ATTR_CODE_COLUMN])

/** One call from its request to its attempts, with the refreshes that its acquisitions led or joined. */
export function traceSpans(database: DatabaseSync, { traceId }: { readonly traceId: string }): TraceAnswer {
  const reader = new EventReader(database)
  // What began in the same millisecond: the event that lasts longer holds the other.
  const eventsOf = (id: string) => [...reader.where(`trace_id = ? ORDER BY start_ms, duration_ms DESC LIMIT ${MOST_SPANS}`, id)]
  const events = eventsOf(traceId)
  const linked = new Set(events.flatMap(({ links }) => links.map(link => link.traceId)))
  linked.delete(traceId)
  for (const other of [...linked].slice(0, MOST_LINKED)) events.push(...eventsOf(other))
  return { traceId, spans: events.sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs).map(traceSpan) }
}

/** How a process is shown to people; empty where events come from this one alone. */
export function describeProcess(process: EventProcess | undefined): string {
  return process ? `${process.title} (${process.role}, pid ${process.pid})` : ''
}

/** The frames of the caller of an event, nearest first. */
export function callerFrames({ caller: { stack, file, line, kind } }: Pick<GatewatchEvent, 'caller'>): FrameLine[] {
  return framesOf(stack, { file, line, isCode: kind === 'code' })
}

function traceSpan(event: GatewatchEvent): TraceSpan {
  const { traceId, spanId, startMs, durationMs, isError, steps, links, process } = event
  return {
    ...{ traceId, spanId, startMs, durationMs },
    name: spanNameOf(event) ?? event.kind,
    parent: event.parentSpanId,
    role: roleOf(event),
    failed: isError,
    gist: gistOf(event),
    attributes: pairsOf(attributesOfEvent(event)),
    stack: callerFrames(event),
    events: steps.map(step => ({
      name: STEP_EVENTS[step.name] ?? step.name,
      atMs: step.atMs,
      attributes: pairsOf(attributesOfStep(step)),
    })),
    links: links.map(link => ({ traceId: link.traceId, spanId: link.spanId })),
    process: describeProcess(process),
  }
}

function roleOf(event: GatewatchEvent): SpanRole {
  switch (event.kind) {
    case 'token_request':
      return event.grant === 'other' ? 'other' : 'refresh'
    case 'acquire':
    case 'call':
    case 'attempt':
      return event.kind
    case 'inbound':
      return 'request'
    default:
      return 'other'
  }
}

/** What an event comes to in a few words. */
function gistOf(event: GatewatchEvent): string {
  const { profile, reason, decision, via, outcome, httpStatus }: Readonly<Record<string, unknown>> = { ...event }
  const found = [profile, reason, decision, via, outcome, httpStatus].filter(value => value !== undefined)
  return (found.length > 0 ? found.map(String) : event.caller.label === 'unknown' ? [] : [event.caller.label]).join(' · ')
}

function pairsOf(attributes: Attributes): [string, string][] {
  return Object.entries(attributes)
    .filter(([name, value]) => value !== undefined && !SHOWN_ELSEWHERE.has(name))
    .map(([name, value]) => [name, textOf(value)])
}

function textOf(value: AttributeValue | undefined): string {
  return String(typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(SHOWN_DIGITS)) : value)
}
