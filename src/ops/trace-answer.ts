import type { Attributes, AttributeValue } from '@opentelemetry/api'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_COLUMN,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_REASON,
  ATTR_VIA,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { attributeText } from '../events/attribute-value.ts'
import { framesOf } from '../events/queries/stack-frames.ts'
import { trace } from '../events/queries.ts'
import type { RecordedSpans } from '../events/recorded-spans.ts'
import type { SpanRow } from '../events/span-row.ts'
import type { SpanRole, TraceAnswer, TraceSpan } from './api-types.ts'
import { processText } from './bypasses-answer.ts'

/** Spans of one answer; a trace of more is no single call. */
const MOST_SPANS = 1_000
/** Traces that links lead to. */
const MOST_LINKED = 5
/** Of a number that is not whole: seconds come with more digits than any clock has. */
const SHOWN_DIGITS = 6
/** Distinguished from the attributes: the stack has a place of its own. */
const SHOWN_ELSEWHERE = new Set<string>([ATTR_CODE_STACK, ATTR_CODE_COLUMN])

/** One call from its request to its attempts, with the refreshes that its acquisitions led or joined. */
export function traceAnswer(records: RecordedSpans, traceId: string): TraceAnswer {
  const spans = trace(records, traceId).slice(0, MOST_SPANS)
  const linked = new Set(spans.flatMap(({ links }) => links.map(link => link.traceId)))
  linked.delete(traceId)
  for (const other of [...linked].slice(0, MOST_LINKED)) spans.push(...trace(records, other).slice(0, MOST_SPANS))
  return { traceId, spans: spans.sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs).map(traceSpan) }
}

function traceSpan(span: SpanRow): TraceSpan {
  const { traceId, spanId, parentSpanId, name, startMs, durationMs, status, attributes, events, links, process } = span
  return {
    ...{ traceId, spanId, name, startMs, durationMs },
    parent: parentSpanId,
    role: roleOf(span),
    failed: status === 'error',
    gist: gistOf(attributes),
    attributes: pairsOf(attributes),
    stack: framesOf(attributeText(attributes[ATTR_CODE_STACK]), {
      file: attributeText(attributes[ATTR_CODE_FILE]),
      line: typeof attributes[ATTR_CODE_LINE] === 'number' ? attributes[ATTR_CODE_LINE] : undefined,
      isCode: attributes[ATTR_CALLER_KIND] === 'code',
    }),
    events: events.map(event => ({ name: event.name, atMs: event.atMs, attributes: pairsOf(event.attributes) })),
    links: links.map(link => ({ traceId: link.traceId, spanId: link.spanId })),
    process: processText(process),
  }
}

function roleOf({ name, kind, attributes }: SpanRow): SpanRole {
  if (name === SPAN_REFRESH) return 'refresh'
  if (name === SPAN_ACQUIRE) return 'acquire'
  if (name === SPAN_CALL) return 'call'
  if (attributes[ATTR_ATTEMPT_OUTCOME] !== undefined) return 'attempt'
  return kind === 'server' ? 'request' : 'other'
}

function gistOf(attributes: Readonly<Attributes>): string {
  const words = [ATTR_PROFILE, ATTR_REASON, ATTR_DECISION, ATTR_VIA, ATTR_OUTCOME, ATTR_ATTEMPT_OUTCOME, ATTR_HTTP_STATUS]
  const found = words.map(word => attributes[word]).filter(value => value !== undefined)
  const caller = attributeText(attributes[ATTR_CALLER])
  return [...found.map(String), ...(found.length === 0 && caller !== undefined ? [caller] : [])].join(' · ')
}

function pairsOf(attributes: Readonly<Attributes>): [string, string][] {
  return Object.entries(attributes)
    .filter(([name, value]) => value !== undefined && !SHOWN_ELSEWHERE.has(name))
    .map(([name, value]) => [name, wordOf(value)])
}

function wordOf(value: AttributeValue | undefined): string {
  return String(typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(SHOWN_DIGITS)) : value)
}
