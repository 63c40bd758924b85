import type { DatabaseSync } from 'node:sqlite'
import { OTHER } from '../../../otel/semconv.ts'
import type { CallRow, CallsAnswer } from './answers.ts'
import { readingRest, type SqlCondition, timeSteps, type ViewFilter, type ViewRange, viewRange } from './view-filter.ts'

/** Rows before profiles and models are counted together. */
const MOST_ROWS = 500
/** Attempts count when they ended; the index knows when they began. One that took longer counts only where it also began. */
const LONGEST_ATTEMPT_MS = 3_600_000

/** Bins of durations grow by a quarter from half a millisecond to twenty minutes: a quantile is right within an eighth. */
const LEAST_MS = 0.5
const GROWTH = 1.25
const BINS = 66

/** What a caller gave up says neither that a profile works nor that it fails. */
export const ATTEMPT_CLASS = `CASE WHEN outcome = 'ok' THEN 'good' WHEN is_error = 1 OR outcome IS NOT 'aborted' THEN 'failed' ELSE 'aborted' END`
export type AttemptClass = 'good' | 'failed' | 'aborted'

/** Attempts that ended within a time. */
export function attemptCondition({ profile, outcome }: ViewFilter, { fromMs, toMs }: ViewRange): SqlCondition {
  const parts = ["kind = 'attempt' AND start_ms BETWEEN :fromMs - :longestMs AND :toMs AND end_ms BETWEEN :fromMs AND :toMs"]
  if (profile !== undefined) parts.push("coalesce(profile, 'unknown') = :profile")
  if (outcome !== undefined) parts.push('outcome = :outcome')
  const words = { ...(profile !== undefined && { profile }), ...(outcome !== undefined && { outcome }) }
  return { where: parts.join(' AND '), values: { fromMs, toMs, longestMs: LONGEST_ATTEMPT_MS, ...words } }
}

/** Rate, errors, latency and time to the first chunk of the upstream requests, over time and by profile and model. */
export function callStatistics(database: DatabaseSync, filter: ViewFilter): CallsAnswer {
  const range = viewRange(database, filter)
  const { stepMs, atMs } = timeSteps(range)
  const groups = readingRest(rest =>
    attemptGroups(database, { condition: attemptCondition(filter, range), startMs: atMs[0] ?? 0, stepMs, rest }),
  )
  const points = atMs.map(() => ({ good: 0, failed: 0, aborted: 0, all: new DurationBins(), first: new DurationBins() }))
  const all = new DurationBins()
  const first = new DurationBins()
  for (const { point: index, class: kind, bin, firstBin, count } of groups.points) {
    const point = points[index]
    if (point) point[kind] += count
    for (const bins of [point?.all, all]) bins?.add(bin, count)
    for (const bins of [point?.first, first]) bins?.add(firstBin, count)
  }
  const sum = (kind: AttemptClass) => points.reduce((total, point) => total + point[kind], 0)
  const curve = (of: 'all' | 'first', share: number) => points.map(point => point[of].quantile(share) ?? null)
  return {
    fromMs: range.fromMs,
    toMs: range.toMs,
    stepMs,
    total: all.count,
    failures: sum('failed'),
    aborts: sum('aborted'),
    p50Ms: all.quantile(0.5),
    p95Ms: all.quantile(0.95),
    firstChunkMs: first.quantile(0.5),
    atMs,
    good: points.map(({ good }) => good),
    failed: points.map(({ failed }) => failed),
    aborted: points.map(({ aborted }) => aborted),
    p50: curve('all', 0.5),
    p95: curve('all', 0.95),
    first50: curve('first', 0.5),
    first95: curve('first', 0.95),
    rows: callRows(database, groups.rows, range),
  }
}

interface BinGroup {
  readonly bin: number
  /** `null` where no chunk was seen. */
  readonly firstBin: number | null
  readonly count: number
}

interface PointGroup extends BinGroup {
  readonly point: number
  readonly class: AttemptClass
}

interface RowGroup extends BinGroup, Pick<CallRow, 'profile' | 'model' | 'outcome' | 'lastMs'> {
  readonly lastId: number
}

interface AttemptGroupsWanted {
  readonly condition: SqlCondition
  readonly startMs: number
  readonly stepMs: number
  /** The expression for the JSON text of an event. */
  readonly rest: string
}

/** The attempts, read once and grouped twice: by step of time, and by profile, model and outcome. */
function attemptGroups(database: DatabaseSync, { condition: { where, values }, startMs, stepMs, rest }: AttemptGroupsWanted) {
  const sql = `WITH attempt AS MATERIALIZED (
      SELECT coalesce(profile, 'unknown') AS profile, coalesce(model, 'unknown') AS model, outcome, ${ATTEMPT_CLASS} AS class,
        CAST((end_ms - :startMs) / :stepMs AS INTEGER) AS point, ${binOf('duration_ms')} AS bin,
        ${binOf(`1000 * (${rest} ->> '$.timeToFirstChunkS')`)} AS first_bin, stands_for, end_ms, id
      FROM event WHERE ${where})
    SELECT 1 AS is_point, point, class, '' AS profile, '' AS model, '' AS outcome, bin, first_bin, total(stands_for) AS count, 0 AS last_ms, 0 AS last_id
      FROM attempt GROUP BY point, class, bin, first_bin
    UNION ALL SELECT 0, 0, '', profile, model, outcome, bin, first_bin, total(stands_for), max(end_ms), id
      FROM attempt GROUP BY profile, model, outcome, bin, first_bin`
  const statement = database.prepare(sql)
  statement.setReturnArrays(true)
  const points: PointGroup[] = []
  const rows: RowGroup[] = []
  for (const group of statement.iterate({ ...values, startMs, stepMs })) {
    const [isPoint, point, kind, profile, model, outcome, bin, firstBin, count, lastMs, lastId] = group as unknown as GroupColumns
    if (isPoint) points.push({ point, class: kind, bin, firstBin, count })
    else rows.push({ profile, model, outcome, bin, firstBin, count, lastMs, lastId })
  }
  return { points, rows }
}

type GroupColumns = readonly [
  ...[isPoint: number, point: number, kind: AttemptClass, profile: string, model: string, outcome: string],
  ...[bin: number, firstBin: number | null, count: number, lastMs: number, lastId: number],
]

interface GrowingRow {
  readonly words: Pick<CallRow, 'profile' | 'model' | 'outcome'>
  lastMs: number
  lastId: number
  readonly durations: DurationBins
  readonly firstChunks: DurationBins
}

function callRows(database: DatabaseSync, groups: readonly RowGroup[], { hours }: ViewRange): CallRow[] {
  const rows = new Map<string, GrowingRow>()
  for (const { lastMs, lastId, bin, firstBin, count, ...words } of groups) {
    const row = rowOf(rows, words)
    if (lastMs >= row.lastMs) Object.assign(row, { lastMs, lastId })
    row.durations.add(bin, count)
    row.firstChunks.add(firstBin, count)
  }
  const traceOf = database.prepare('SELECT trace_id AS traceId FROM event WHERE id = ?')
  return [...rows.values()]
    .map(({ words, lastMs, lastId, durations, firstChunks }) => ({
      ...words,
      count: durations.count,
      perHour: durations.count / hours,
      p50Ms: durations.quantile(0.5),
      p95Ms: durations.quantile(0.95),
      firstChunkMs: firstChunks.quantile(0.5),
      lastMs,
      lastTrace: String(traceOf.get(lastId)?.traceId ?? ''),
    }))
    .sort((a, b) => b.count - a.count)
}

/** The row of a profile, model and outcome; where there are too many, of all profiles and models that came later. */
function rowOf(rows: Map<string, GrowingRow>, words: GrowingRow['words']): GrowingRow {
  const key = `${words.profile}\0${words.model}\0${words.outcome}`
  const found = rows.get(key)
  if (found) return found
  if (rows.size >= MOST_ROWS && words.model !== OTHER) return rowOf(rows, { ...words, profile: OTHER, model: OTHER })
  const created = { words, lastMs: 0, lastId: 0, durations: new DurationBins(), firstChunks: new DurationBins() }
  rows.set(key, created)
  return created
}

/** The number of the bin of a duration in ms. */
function binOf(durationMs: string): string {
  return `CAST(min(${BINS - 1}, ceil(ln(max(${durationMs}, ${LEAST_MS}) / ${LEAST_MS}) / ln(${GROWTH}))) AS INTEGER)`
}

/** Durations counted in bins, for quantiles over any number of them. */
class DurationBins {
  readonly #bins = new Float64Array(BINS)
  #count = 0

  get count(): number {
    return this.#count
  }

  /** Adds durations of a bin; nothing where none was measured. */
  add(bin: number | null, count: number): void {
    if (bin === null) return
    this.#bins[bin] = (this.#bins[bin] ?? 0) + count
    this.#count += count
  }

  /** @param share Between 0 and 1. @returns Milliseconds; `undefined` when nothing was counted. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    const wanted = share * this.#count
    let before = 0
    for (const [index, here] of this.#bins.entries()) {
      if (here > 0 && before + here >= wanted) {
        const upper = LEAST_MS * GROWTH ** index
        const lower = index === 0 ? 0 : upper / GROWTH
        return lower + ((upper - lower) * Math.max(0, wanted - before)) / here
      }
      before += here
    }
    return LEAST_MS * GROWTH ** (BINS - 1)
  }
}
