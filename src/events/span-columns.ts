import { ATTR_REFRESH_RETAINED } from '../../otel/semconv.ts'
import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import { isInteresting } from './keep-policy.ts'
import { acquisitionLabels, type Fallback, fallbacksOf } from './label-dictionary.ts'
import type { SpanColumn, SpanTable } from './recorder-schema.ts'
import { isRefresh, type RefreshRow, refreshRow } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

/** A row as it is written. */
export interface WrittenSpan {
  readonly table: SpanTable
  readonly columns: Readonly<Record<Exclude<SpanColumn, 'process'>, string | number | null>>
  readonly fallbacks: readonly Fallback[]
}

/** Which table a row belongs to. */
export function tableOf(row: SpanRow): SpanTable {
  return isInteresting(row) ? 'interesting' : 'ordinary'
}

/** The columns of a row. @throws {TypeError} when the row cannot be written as JSON. */
export function writtenSpan(row: SpanRow): WrittenSpan {
  const refresh = isRefresh(row) ? refreshRow(row) : undefined
  const acquisition = acquisitionLabels(row)
  return {
    table: tableOf(row),
    columns: {
      trace_id: row.traceId,
      span_id: row.spanId,
      ended_ms: row.startMs + row.durationMs,
      at_ms: refresh?.atMs ?? row.startMs,
      duration_ms: row.durationMs,
      provider: refresh?.provider ?? null,
      profile: refresh?.profile ?? null,
      caller: refresh?.caller ?? acquisition?.caller ?? null,
      reason: refresh?.reason ?? acquisition?.reason ?? null,
      via: refresh?.via ?? null,
      outcome: refresh?.outcome ?? null,
      decision: acquisition?.decision ?? null,
      sent: refresh?.fingerprintBefore ?? null,
      retained: Number(isRetained(row, refresh)),
      known_replay: Number(refresh?.replay ?? false),
      row: JSON.stringify(row),
    },
    fallbacks: fallbacksOf(row),
  }
}

/** As `writtenSpan`; `undefined` for a row that cannot be written: it must not keep the others waiting. */
export function writtenSpanOrNothing(row: SpanRow): WrittenSpan | undefined {
  try {
    return writtenSpan(row)
  } catch {
    return undefined
  }
}

/**
 * Reads a row that was written.
 *
 * @returns `undefined` for one that is damaged: no JSON, a part missing, or a time that is none. What a later reader relies on is
 *   checked here, once, so that a bad byte costs one row and not the whole answer.
 */
export function readSpan(text: string): SpanRow | undefined {
  const row = parseJsonObject(text)
  if (!row || !isSpanRow(row)) return undefined
  return row.parentSpanId === undefined ? { ...row, parentSpanId: undefined } : row
}

/** Furthest moment that a date can name, in ms before or after the epoch (ECMA-262, Time Values). */
const FURTHEST_MS = 8.64e15

function isSpanRow(value: object): value is SpanRow {
  const { traceId, spanId, parentSpanId, name, startMs, durationMs, status, attributes, events, links } = value as Partial<SpanRow>
  return (
    isText(traceId) &&
    isText(spanId) &&
    (parentSpanId === undefined || isText(parentSpanId)) &&
    isText(name) &&
    isMoment(startMs) &&
    isMoment(durationMs) &&
    isMoment(startMs + durationMs) &&
    (status === 'ok' || status === 'error' || status === 'unset') &&
    isJsonObject(attributes) &&
    Array.isArray(events) &&
    events.every(event => isJsonObject(event) && isText(event.name) && isMoment(event.atMs) && isJsonObject(event.attributes)) &&
    Array.isArray(links) &&
    links.every(link => isJsonObject(link) && isText(link.traceId) && isText(link.spanId))
  )
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isMoment(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= FURTHEST_MS
}

function isRetained(row: SpanRow, refresh: RefreshRow | undefined): boolean {
  return row.attributes[ATTR_REFRESH_RETAINED] === true || refresh?.outcome === 'renewed'
}
