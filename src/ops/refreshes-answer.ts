import type { Aggregates } from './aggregates.ts'
import type { AcquisitionRow, CallerRow, RefreshesAnswer, RefreshLine, RefreshLinesAnswer } from './api-types.ts'
import { hoursOf, matchingAcquisitions, matchingRefreshes, type QueryParams } from './query-params.ts'
import type { RefreshFact } from './span-facts.ts'

/** Points of the small curve in each row. */
const TREND_POINTS = 24
const MOST_ROWS = 500
const MOST_LINES = 100

/** A row while it is counted. */
type Counted<Row> = { -readonly [Key in keyof Row]: Row[Key] }

/** Who refreshes, why, which way and with what outcome; and who came to the gate. The most frequent first. */
export function refreshesAnswer(aggregates: Aggregates, query: QueryParams): RefreshesAnswer {
  const hours = hoursOf(query, aggregates)
  const sliceMs = Math.max(1, (query.toMs - query.fromMs) / TREND_POINTS)
  const callers = new Map<string, Counted<CallerRow> & { trend: number[] }>()
  let total = 0
  let failures = 0
  for (const fact of matchingRefreshes(aggregates, query)) {
    const { caller, reason, via, outcome } = fact
    const row = entry(callers, `${caller}\0${reason}\0${via}\0${outcome}`, () => ({
      ...{ caller, reason, via, outcome, count: 0, failures: 0, perHour: 0, lastMs: 0, lastTrace: '' },
      trend: new Array<number>(TREND_POINTS).fill(0),
    }))
    seen(row, fact)
    if (fact.failed) row.failures += 1
    const slice = Math.min(TREND_POINTS - 1, Math.floor((fact.atMs - query.fromMs) / sliceMs))
    row.trend[slice] = (row.trend[slice] ?? 0) + 1
    total += 1
    if (fact.failed) failures += 1
  }
  return {
    fromMs: query.fromMs,
    toMs: query.toMs,
    total,
    failures,
    callers: ranked(callers.values(), hours),
    acquisitions: query.via === '' && query.outcome === '' && query.stack === '' ? acquisitionRows(aggregates, query, hours) : [],
  }
}

/** The newest refreshes of those wanted: the way from a row or a frame to its traces. */
export function refreshLines(aggregates: Aggregates, query: QueryParams): RefreshLinesAnswer {
  const lines: RefreshLine[] = []
  let total = 0
  for (const fact of matchingRefreshes(aggregates, query)) {
    total += 1
    if (lines.length < MOST_LINES) lines.push(refreshLine(fact))
  }
  return { lines: lines.sort((a, b) => b.atMs - a.atMs), total }
}

export function refreshLine({ provider: _provider, permanent: _permanent, stackId: _stackId, ...line }: RefreshFact): RefreshLine {
  return line
}

function acquisitionRows(aggregates: Aggregates, query: QueryParams, hours: number): AcquisitionRow[] {
  const rows = new Map<string, Counted<AcquisitionRow>>()
  for (const fact of matchingAcquisitions(aggregates, query)) {
    const { caller, reason, decision } = fact
    const create = () => ({ caller, reason, decision, count: 0, perHour: 0, lastMs: 0, lastTrace: '' })
    seen(entry(rows, `${caller}\0${reason}\0${decision}`, create), fact)
  }
  return ranked(rows.values(), hours)
}

/** Finds the row of a key, or makes it. */
export function entry<T>(rows: Map<string, T>, key: string, create: () => T): T {
  let row = rows.get(key)
  if (row === undefined) {
    row = create()
    rows.set(key, row)
  }
  return row
}

function seen(row: { count: number; lastMs: number; lastTrace: string }, { atMs, traceId }: { atMs: number; traceId: string }): void {
  row.count += 1
  if (atMs < row.lastMs) return
  row.lastMs = atMs
  // An acquisition that was not kept has none.
  if (traceId !== '') row.lastTrace = traceId
}

function ranked<Row extends { count: number; lastMs: number; perHour: number }>(rows: Iterable<Row>, hours: number): Row[] {
  return [...rows]
    .map(row => ({ ...row, perHour: row.count / hours }))
    .sort((a, b) => b.count - a.count || b.lastMs - a.lastMs)
    .slice(0, MOST_ROWS)
}
