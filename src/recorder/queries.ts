import type { FallbackKey, Recorder, RefreshKey, VisitKey } from './recorder.ts'
import { type BypassRow, bypassRow, isBypass, isRefresh, type RefreshRow, refreshRow } from './refresh-row.ts'
import type { CountRow } from './running-counts.ts'
import type { SpanRow } from './span-row.ts'

/** Which refreshes are wanted; what is left out does not matter. */
export interface RefreshFilter {
  provider?: string
  profile?: string
  caller?: string
  reason?: string
  via?: string
  outcome?: string
  /** Not before this moment, epoch milliseconds. */
  sinceMs?: number
  /** Rows at the most. @default 100 */
  most?: number
}

const MOST_ROWS = 100

/** One row of the caller table. */
export interface CallerCount extends Readonly<Record<RefreshKey, string>> {
  readonly count: number
  /** Epoch milliseconds. */
  readonly lastSeenMs: number
}

/** One row of the visit table. */
export interface VisitCount extends Readonly<Record<VisitKey, string>> {
  readonly count: number
  readonly lastSeenMs: number
}

/** One row of the fallback table. */
export interface FallbackCount extends Readonly<Record<FallbackKey, string>> {
  readonly count: number
  readonly lastSeenMs: number
}

/** Recent refreshes, through the gate or not, newest first. */
export function refreshes(recorder: Recorder, { most = MOST_ROWS, ...filter }: RefreshFilter = {}): RefreshRow[] {
  return take(recorder.interesting(), most, row => {
    const refresh = isRefresh(row) ? refreshRow(row) : undefined
    return refresh && matches(refresh, filter) ? refresh : undefined
  })
}

/** Recent token requests that did not go through the gate, newest first. */
export function bypasses(recorder: Recorder, { most = MOST_ROWS, ...filter }: RefreshFilter = {}): BypassRow[] {
  return take(recorder.interesting(), most, row => {
    const bypass = isBypass(row) ? bypassRow(row) : undefined
    return bypass && matches(bypass, filter) ? bypass : undefined
  })
}

/** Who refreshed, why, which way and with what outcome, since the process began; the most frequent first. */
export function callerTable(recorder: Recorder, filter: Pick<RefreshFilter, RefreshKey> = {}): CallerCount[] {
  return flat(recorder.refreshCounts(), filter)
}

/** Who came to the gate, why, and what it did, since the process began; the most frequent first. */
export function visitTable(recorder: Recorder, filter: Partial<Record<VisitKey, string>> = {}): VisitCount[] {
  return flat(recorder.visitCounts(), filter)
}

/** Which profile calls went on to, from which, and why, since the process began; the most frequent first. */
export function fallbackTable(recorder: Recorder, filter: Partial<Record<FallbackKey, string>> = {}): FallbackCount[] {
  return flat(recorder.fallbackCounts(), filter)
}

/** What is still known of a trace, in the order in which its spans began. */
export function trace(recorder: Recorder, traceId: string): SpanRow[] {
  const rows: SpanRow[] = []
  for (const row of recorder.interesting()) if (row.traceId === traceId) rows.push(row)
  for (const row of recorder.ordinary()) if (row.traceId === traceId) rows.push(row)
  // What began in the same millisecond: the span that lasts longer holds the other.
  return rows.sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs)
}

function take<T>(rows: Iterable<SpanRow>, most: number, pick: (row: SpanRow) => T | undefined): T[] {
  const taken: T[] = []
  for (const row of rows) {
    if (taken.length >= most) break
    const picked = pick(row)
    if (picked !== undefined) taken.push(picked)
  }
  return taken
}

function matches(row: RefreshRow, { sinceMs, ...words }: Omit<RefreshFilter, 'most'>): boolean {
  return (sinceMs === undefined || row.atMs >= sinceMs) && matchesWords(row, words)
}

function matchesWords(row: object, words: Readonly<Record<string, unknown>>): boolean {
  const values = row as Readonly<Record<string, unknown>>
  return Object.entries(words).every(([key, wanted]) => wanted === undefined || values[key] === wanted)
}

function flat<Key extends string>(
  rows: readonly CountRow<Key>[],
  filter: Partial<Record<Key, string>>,
): (Readonly<Record<Key, string>> & { count: number; lastSeenMs: number })[] {
  return rows
    .filter(({ key }) => matchesWords(key, filter as Readonly<Record<string, unknown>>))
    .map(({ key, count, lastSeenMs }) => ({ ...key, count, lastSeenMs }))
}
