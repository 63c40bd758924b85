import type { DatabaseSync } from 'node:sqlite'
import type { AcquisitionRow, CallerRow, RefreshesAnswer, RefreshLine, RefreshLinesAnswer } from './answers.ts'
import {
  callerCondition,
  IS_FAILED_REFRESH,
  refreshCondition,
  type SqlCondition,
  selectRows,
  type ViewFilter,
  type ViewRange,
  viewRange,
} from './view-filter.ts'

/** Points of the small curve in each row. */
const TREND_POINTS = 24
const MOST_ROWS = 500
const MOST_LINES = 100

/** Columns of a line of a list of refreshes. */
const LINE_COLUMNS = `start_ms AS atMs, duration_ms AS durationMs, caller, reason, via, coalesce(outcome, '') AS ended,
  coalesce(profile, 'unknown') AS ofProfile, replay, ${IS_FAILED_REFRESH} AS failed, trace_id AS traceId`

interface LineRow extends Omit<RefreshLine, 'outcome' | 'profile' | 'replay' | 'failed'> {
  readonly ended: string
  readonly ofProfile: string
  readonly replay: number
  readonly failed: number
}

/** A group of events, and the newest of them. */
interface Counted {
  readonly count: number
  readonly lastMs: number
  readonly lastId: number
}

/** Who refreshes, why, which way and with what outcome; and who acquires. The most frequent first. */
export function refreshCallers(database: DatabaseSync, filter: ViewFilter): RefreshesAnswer {
  const range = viewRange(database, filter)
  const callers = callerRows(database, filter, range)
  const sum = (of: 'count' | 'failures') => callers.reduce((all, row) => all + row[of], 0)
  const { outcome, via, stack, frame } = filter
  const isOfRefreshes = [outcome, via, stack, frame].some(word => word !== undefined)
  return {
    fromMs: range.fromMs,
    toMs: range.toMs,
    total: sum('count'),
    failures: sum('failures'),
    callers: ranked(database, callers, range),
    acquisitions: isOfRefreshes ? [] : ranked(database, acquisitionRows(database, filter, range), range),
  }
}

/** The newest refreshes of those wanted: the way from a row or a frame to its traces. */
export function newestRefreshes(database: DatabaseSync, filter: ViewFilter): RefreshLinesAnswer {
  const condition = refreshCondition(filter, viewRange(database, filter))
  return { lines: refreshLinesOf(database, condition, MOST_LINES), total: weightedCount(database, condition) }
}

/** The newest refreshes that meet a condition. */
export function refreshLinesOf(database: DatabaseSync, { where, values }: SqlCondition, most: number): RefreshLine[] {
  const rows = selectRows<LineRow>(
    database,
    `SELECT ${LINE_COLUMNS} FROM event WHERE ${where} ORDER BY start_ms DESC LIMIT ${most}`,
    values,
  )
  return rows.map(({ ended: outcome, ofProfile: profile, replay, failed, ...line }) => ({
    ...line,
    outcome,
    profile,
    replay: replay === 1,
    failed: failed === 1,
  }))
}

/** How many events meet a condition, or are stood for by those that do. */
export function weightedCount(database: DatabaseSync, { where, values }: SqlCondition): number {
  return selectRows<{ count: number }>(database, `SELECT total(stands_for) AS count FROM event WHERE ${where}`, values)[0]?.count ?? 0
}

type UnrankedCaller = Omit<CallerRow, 'perHour' | 'lastTrace'> & Counted

function callerRows(database: DatabaseSync, filter: ViewFilter, range: ViewRange): UnrankedCaller[] {
  const { where, values } = refreshCondition(filter, range)
  const sql = `SELECT caller, reason, via, coalesce(outcome, ''), min(${TREND_POINTS - 1}, CAST((start_ms - :fromMs) / :sliceMs AS INTEGER)),
      total(stands_for), total(iif(${IS_FAILED_REFRESH}, stands_for, 0)), max(start_ms), id
    FROM event WHERE ${where} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4`
  const statement = database.prepare(sql)
  statement.setReturnArrays(true)
  const rows: (UnrankedCaller & { failures: number; trend: number[] })[] = []
  let row: (typeof rows)[number] | undefined
  const sliceMs = Math.max(1, (range.toMs - range.fromMs) / TREND_POINTS)
  for (const group of statement.iterate({ ...values, sliceMs })) {
    const [caller, reason, via, outcome, slice, count, failures, lastMs, lastId] = group as unknown as SliceColumns
    if (row?.caller !== caller || row.reason !== reason || row.via !== via || row.outcome !== outcome) {
      row = { caller, reason, via, outcome, count: 0, failures: 0, lastMs: 0, lastId: 0, trend: new Array<number>(TREND_POINTS).fill(0) }
      rows.push(row)
    }
    row.trend[slice] = count
    row.failures += failures
    Object.assign(row, { count: row.count + count }, lastMs >= row.lastMs && { lastMs, lastId })
  }
  return rows
}

type SliceColumns = readonly [
  string,
  string,
  string,
  string,
  slice: number,
  count: number,
  failures: number,
  lastMs: number,
  lastId: number,
]

type UnrankedAcquisition = Omit<AcquisitionRow, 'perHour' | 'lastTrace'> & Counted

/**
 * Not every acquisition that got a stored token is an event; the counter has all of them. A row of it is used where its time is
 * within the one that is looked at.
 */
function acquisitionRows(database: DatabaseSync, filter: ViewFilter, range: ViewRange): UnrankedAcquisition[] {
  const { where, values } = callerCondition(filter, range)
  const stored = selectRows<UnrankedAcquisition>(
    database,
    `SELECT caller, reason, coalesce(decision, 'unknown') AS decision, total(stands_for) AS count, max(start_ms) AS lastMs, id AS lastId
      FROM event WHERE kind = 'acquire' AND ${where} GROUP BY 1, 2, 3`,
    values,
  )
  if (filter.profile !== undefined) return stored
  const rows = new Map(stored.map(row => [acquisitionKey(row), row]))
  for (const counted of countedAcquisitions(database, filter)) {
    const row = rows.get(acquisitionKey(counted))
    if ((row?.count ?? 0) < counted.count) rows.set(acquisitionKey(counted), { ...counted, lastId: row?.lastId ?? 0 })
  }
  return [...rows.values()]
}

function acquisitionKey({ caller, reason, decision }: Pick<AcquisitionRow, 'caller' | 'reason' | 'decision'>): string {
  return `${caller}\0${reason}\0${decision}`
}

function countedAcquisitions(database: DatabaseSync, { caller, reason, fromMs, toMs, windowMs }: ViewFilter): UnrankedAcquisition[] {
  return selectRows<UnrankedAcquisition>(
    database,
    `SELECT caller, reason, decision, count, last_ms AS lastMs, 0 AS lastId FROM counter
      WHERE name = 'acquisition' AND first_ms >= :fromMs AND last_ms <= :toMs
      AND caller = coalesce(:caller, caller) AND reason = coalesce(:reason, reason)`,
    { fromMs: fromMs ?? toMs - windowMs, toMs, caller: caller ?? null, reason: reason ?? null },
  )
}

function ranked<Row extends Counted>(
  database: DatabaseSync,
  rows: readonly Row[],
  { hours }: ViewRange,
): (Omit<Row, 'lastId'> & { perHour: number; lastTrace: string })[] {
  const traceOf = database.prepare('SELECT trace_id AS traceId FROM event WHERE id = ?')
  return rows
    .toSorted((a, b) => b.count - a.count || b.lastMs - a.lastMs)
    .slice(0, MOST_ROWS)
    .map(({ lastId, ...row }) => ({ ...row, perHour: row.count / hours, lastTrace: String(traceOf.get(lastId)?.traceId ?? '') }))
}
