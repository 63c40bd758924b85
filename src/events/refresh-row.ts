import type { AttributeValue } from '@opentelemetry/api'
import {
  ATTR_CALLER,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_DECISION,
  ATTR_GATE_SEEN,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  ATTR_REQUEST_FIELDS,
  ATTR_STACK_ID,
  ATTR_UNCERTAINTY,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_JOINED,
  SPAN_ACQUIRE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { attributeText, numberOf } from './attribute-value.ts'
import type { ListedRefresh } from './queries/refresh-list.ts'
import type { EventRow, SpanRow } from './span-row.ts'

/** One refresh, through the gate or around it. What a span did not say is `undefined`. */
export type RefreshRow = Omit<ListedRefresh, 'policy'>

/** A token request that did not go through the gate. */
export interface BypassRow extends RefreshRow {
  readonly policy: string | undefined
}

/** Says whether the span is a refresh: a refresh of the gate, one that got its answer from another, or a span on which a bypass was seen. */
export function isRefresh(row: SpanRow): boolean {
  return row.name === SPAN_REFRESH || isSharedRefresh(row) || isBypass(row)
}

/** Says whether a watched process was given another caller's answer: an acquisition that records its way. */
export function isSharedRefresh(row: SpanRow): boolean {
  return row.name === SPAN_ACQUIRE && row.attributes[ATTR_VIA] !== undefined
}

export function isBypass(row: SpanRow): boolean {
  return row.attributes[ATTR_VIA] === 'bypass' || bypassEvent(row) !== undefined
}

/** The refresh a span describes; what the bypass event says goes before what the span says. */
export function refreshRow(row: SpanRow): RefreshRow {
  const event = bypassEvent(row)
  const joinedBy = joinersOf(row)
  const read = (key: string): AttributeValue | undefined => event?.attributes[key] ?? row.attributes[key]
  const uncertainty = attributeText(read(ATTR_UNCERTAINTY))
  const gateSeen = read(ATTR_GATE_SEEN)
  return {
    atMs: event?.atMs ?? row.startMs,
    durationMs: row.durationMs,
    provider: attributeText(read(ATTR_PROVIDER)),
    profile: attributeText(read(ATTR_PROFILE)),
    caller: attributeText(read(ATTR_CALLER)) ?? 'unknown',
    reason: attributeText(read(ATTR_REASON)) ?? 'unknown',
    via: isBypass(row) ? 'bypass' : (attributeText(read(ATTR_VIA)) ?? 'gate'),
    ...(uncertainty !== undefined && { uncertainty }),
    ...(typeof gateSeen === 'boolean' && { gateSeen }),
    outcome: attributeText(read(ATTR_OUTCOME)),
    status: numberOf(read(ATTR_HTTP_STATUS)),
    providerCode: attributeText(read(ATTR_PROVIDER_ERROR_CODE)),
    replay: read(ATTR_REPLAY) === true,
    fingerprintBefore: attributeText(read(ATTR_REFRESH_FINGERPRINT_BEFORE)),
    fingerprintAfter: attributeText(read(ATTR_REFRESH_FINGERPRINT_AFTER)),
    shape: attributeText(read(ATTR_REQUEST_FIELDS)),
    file: attributeText(read(ATTR_CODE_FILE)),
    line: numberOf(read(ATTR_CODE_LINE)),
    stack: attributeText(read(ATTR_CODE_STACK)),
    stackId: attributeText(read(ATTR_STACK_ID)),
    traceId: row.traceId,
    spanId: row.spanId,
    ...(joinedBy.length > 0 && { joinedBy }),
    ...(isSharedRefresh(row) && { decision: attributeText(read(ATTR_DECISION)) ?? 'unknown' }),
    ...(row.process && { pid: row.process.pid, role: row.process.role, title: row.process.title }),
  }
}

export function bypassRow(row: SpanRow): BypassRow {
  return { ...refreshRow(row), policy: attributeText(bypassEvent(row)?.attributes[ATTR_POLICY] ?? row.attributes[ATTR_POLICY]) }
}

function joinersOf({ events }: SpanRow): string[] {
  return events
    .filter(({ name }) => name === EVENT_JOINED)
    .map(({ attributes }) =>
      [attributeText(attributes[ATTR_CALLER]) ?? 'unknown', numberOf(attributes[ATTR_CODE_LINE])].filter(Boolean).join(':'),
    )
}

function bypassEvent(row: SpanRow): EventRow | undefined {
  return row.events.find(({ name }) => name === EVENT_BYPASS)
}
