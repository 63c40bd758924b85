import { ATTR_REFRESH_RETAINED } from '../../otel/names.ts'
import { type Fallback, fallbacksOf, visitWords } from './counted-words.ts'
import { isInteresting } from './interest.ts'
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
  const visit = visitWords(row)
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
      caller: refresh?.caller ?? visit?.caller ?? null,
      reason: refresh?.reason ?? visit?.reason ?? null,
      via: refresh?.via ?? null,
      outcome: refresh?.outcome ?? null,
      decision: visit?.decision ?? null,
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

/** The row that was written. */
export function readSpan(text: string): SpanRow {
  const row = JSON.parse(text) as SpanRow
  return row.parentSpanId === undefined ? { ...row, parentSpanId: undefined } : row
}

function isRetained(row: SpanRow, refresh: RefreshRow | undefined): boolean {
  return row.attributes[ATTR_REFRESH_RETAINED] === true || refresh?.outcome === 'renewed'
}
