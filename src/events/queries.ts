import type { AcquisitionKey, FallbackKey, RefreshKey } from './label-dictionary.ts'
import type { ListFilterValue } from './queries/refresh-list.ts'
import type { RecordedSpans, RefreshFilter } from './recorded-spans.ts'
import { type BypassRow, bypassRow, isBypass, isRefresh, type RefreshRow, refreshRow } from './refresh-row.ts'
import type { CountRow } from './running-counts.ts'
import type { SpanRow } from './span-row.ts'

export type { RefreshFilter }

const MOST_ROWS = 100

/** One row of the caller table. */
export interface CallerCount extends Readonly<Record<RefreshKey, string>> {
  readonly count: number
  /** Epoch milliseconds. */
  readonly lastSeenMs: number
}

/** One row of the acquisition table. */
export interface AcquisitionCount extends Readonly<Record<AcquisitionKey, string>> {
  readonly count: number
  readonly lastSeenMs: number
}

/** One row of the fallback table, and of that of changed billing. */
export interface FallbackCount extends Readonly<Record<Exclude<FallbackKey, 'billingChanged'>, string>> {
  readonly count: number
  readonly lastSeenMs: number
}

/** Recent refreshes, through the gate or not, newest first. */
export function refreshes(recorder: RecordedSpans, { most = MOST_ROWS, ...filter }: RefreshFilter = {}): RefreshRow[] {
  return take(recorder.refreshSpans(filter), most, row => {
    const refresh = isRefresh(row) ? refreshRow(row) : undefined
    return refresh && matchesFilter(refresh, filter) ? refresh : undefined
  })
}

/** Recent token requests that did not go through the gate, newest first. */
export function bypasses(recorder: RecordedSpans, { most = MOST_ROWS, ...filter }: RefreshFilter = {}): BypassRow[] {
  return take(recorder.refreshSpans({ ...filter, via: 'bypass' }), most, row => {
    const bypass = isBypass(row) ? bypassRow(row) : undefined
    return bypass && matchesFilter(bypass, filter) ? bypass : undefined
  })
}

/** Who refreshed, why, which way and with what outcome, over all that is counted; the most frequent first. */
export function callerTable(recorder: RecordedSpans, filter: Partial<Record<RefreshKey, ListFilterValue>> = {}): CallerCount[] {
  return flat(recorder.refreshCounts(), filter)
}

/** Who came to the gate, why, and what it did, over all that is counted; the most frequent first. */
export function acquisitionTable(recorder: RecordedSpans, filter: Partial<Record<AcquisitionKey, string>> = {}): AcquisitionCount[] {
  return flat(recorder.acquisitionCounts(), filter)
}

/** Which profile calls went on to, from which, and why, over all that is counted; the most frequent first. */
export function fallbackTable(recorder: RecordedSpans): FallbackCount[] {
  return fallbackRows(recorder, 'false')
}

/** Calls that were answered by a profile that pays otherwise than the preferred one: from that one, and why it was given up. */
export function billingChangeTable(recorder: RecordedSpans): FallbackCount[] {
  return fallbackRows(recorder, 'true')
}

function fallbackRows(recorder: RecordedSpans, billingChanged: string): FallbackCount[] {
  return flat(recorder.fallbackCounts(), { billingChanged }).map(({ billingChanged: _same, ...row }) => row)
}

/** What is still known of a trace, in the order in which its spans began. */
export function trace(recorder: RecordedSpans, traceId: string): SpanRow[] {
  // What began in the same millisecond: the span that lasts longer holds the other.
  return [...recorder.spansOf(traceId)].sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs)
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

/** Says whether a refresh is one of those wanted. */
export function matchesFilter(row: RefreshRow, { sinceMs, callerPart, most: _most, ...words }: RefreshFilter): boolean {
  if (sinceMs !== undefined && row.atMs < sinceMs) return false
  return (callerPart === undefined || row.caller.includes(callerPart)) && matchesWords(row, words)
}

function matchesWords(row: object, words: Readonly<Record<string, unknown>>): boolean {
  const values = row as Readonly<Record<string, unknown>>
  return Object.entries(words).every(
    ([key, wanted]) => wanted === undefined || (Array.isArray(wanted) ? wanted.includes(values[key]) : values[key] === wanted),
  )
}

function flat<Key extends string>(
  rows: readonly CountRow<Key>[],
  filter: Partial<Record<Key, ListFilterValue>>,
): (Readonly<Record<Key, string>> & { count: number; lastSeenMs: number })[] {
  return rows
    .filter(({ key }) => matchesWords(key, filter as Readonly<Record<string, unknown>>))
    .map(({ key, count, lastSeenMs }) => ({ ...key, count, lastSeenMs }))
}
