import type { DatabaseSync } from 'node:sqlite'
import { OTHER } from '../../../otel/semconv.ts'
import type { FallbackRow, FallbacksAnswer, WayRow } from './answers.ts'
import { readingRest, timeSteps, type ViewFilter, type ViewRange, viewRange } from './view-filter.ts'

/** Ways before the rarer ones are counted as one that starts at `_other`. */
const MOST_WAYS = 200

/** Calls that went one way. */
interface CountedWay extends Pick<WayRow, 'steps' | 'end'> {
  readonly isBillingChanged: boolean
  count: number
  lastMs: number
  lastId: number
  /** How many there were in each step of time. */
  readonly points: Map<number, number>
}

/** How calls went from the preferred profile to the one that served, and what drove them on. */
export function fallbackWays(database: DatabaseSync, filter: ViewFilter): FallbacksAnswer {
  const range = viewRange(database, filter)
  const { stepMs, atMs } = timeSteps(range)
  const all = readingRest(rest => countedWays(database, { range, startMs: atMs[0] ?? 0, stepMs, rest }))
    .filter(({ steps }) => filter.profile === undefined || steps.some(({ profile }) => profile === filter.profile))
    .sort((a, b) => b.count - a.count)
  const ways = joinRarest(all)
  const countOf = (wants: (way: CountedWay) => boolean) => all.filter(wants).reduce((sum, { count }) => sum + count, 0)
  const traceOf = database.prepare('SELECT trace_id AS traceId FROM event WHERE id = ?')
  const lastTrace = (id: number) => String(traceOf.get(id)?.traceId ?? '')
  return {
    fromMs: range.fromMs,
    toMs: range.toMs,
    stepMs,
    calls: countOf(() => true),
    fellBack: countOf(({ steps }) => steps.length > 1),
    changedBilling: countOf(({ isBillingChanged }) => isBillingChanged),
    aborted: countOf(({ end }) => end === 'aborted'),
    notServed: countOf(({ end }) => end === 'failed'),
    ways: ways.map(({ steps, end, count, lastMs, lastId }) => ({ steps, end, count, lastMs, lastTrace: lastTrace(lastId) })),
    fallbacks: fallbackRows(all, stepsOf, { range, lastTrace }),
    billingChanges: fallbackRows(all, changesOf, { range, lastTrace }),
    timeline: { atMs, ends: timelineOf(all, atMs.length) },
  }
}

interface WaysWanted {
  readonly range: ViewRange
  readonly startMs: number
  readonly stepMs: number
  /** The expression for the JSON text of an event. */
  readonly rest: string
}

function countedWays(database: DatabaseSync, { range: { fromMs, toMs }, startMs, stepMs, rest }: WaysWanted): CountedWay[] {
  // Most calls went no further than the preferred profile: their steps are not looked into.
  const steps = `iif(instr(${rest}, '"fallback"') = 0, '[]', (
    SELECT json_group_array(json_array(value ->> '$.fallbackFrom', coalesce(value ->> '$.fallbackTo', 'unknown'), coalesce(value ->> '$.fallbackReason', 'unknown')))
    FROM json_each(${rest}, '$.steps') WHERE value ->> '$.name' = 'fallback'))`
  const sql = `SELECT ${steps}, coalesce(${rest} ->> '$.preferredProfile', profile, 'no profile'),
      CASE WHEN is_error = 1 THEN 'failed' WHEN outcome = 'aborted' THEN 'aborted' WHEN profile IS NULL THEN 'failed'
        ELSE coalesce(billing, 'unknown billing') END,
      ${rest} ->> '$.billingChanged' IS 1, CAST((start_ms - :startMs) / :stepMs AS INTEGER), total(stands_for), max(start_ms), id
    FROM event WHERE kind IN ('call', 'attempt') AND start_ms BETWEEN :fromMs AND :toMs AND ${isCall(rest)} GROUP BY 1, 2, 3, 4, 5`
  const statement = database.prepare(sql)
  statement.setReturnArrays(true)
  const ways = new Map<string, CountedWay>()
  for (const group of statement.iterate({ fromMs, toMs, startMs, stepMs })) {
    const [moves, preferred, end, isBillingChanged, point, count, lastMs, lastId] = group as unknown as WayColumns
    const key = `${moves}\0${preferred}\0${end}\0${isBillingChanged}`
    let way = ways.get(key)
    if (!way) {
      way = {
        steps: wayOf(moves, preferred),
        end,
        isBillingChanged: isBillingChanged === 1,
        count: 0,
        lastMs: 0,
        lastId: 0,
        points: new Map(),
      }
      ways.set(key, way)
    }
    way.points.set(point, count)
    Object.assign(way, { count: way.count + count }, lastMs >= way.lastMs && { lastMs, lastId })
  }
  return [...ways.values()]
}

/** A call of the gateway, or one that an application wrapped and fell back in; what stands for no call only notes a rest. */
function isCall(rest: string): string {
  return `stands_for > 0 AND (kind = 'call' OR (keep = 'kept' AND instr(${rest}, '"fallback"') > 0))`
}

type WayColumns = readonly [
  ...[moves: string, preferred: string, end: string, isBillingChanged: number],
  ...[point: number, count: number, lastMs: number, lastId: number],
]

function wayOf(text: string, preferred: string): WayRow['steps'] {
  const moves = JSON.parse(text) as readonly (readonly [from: string | null, to: string, reason: string])[]
  return [{ profile: moves[0]?.[0] ?? preferred, reason: '' }, ...moves.map(([, profile, reason]) => ({ profile, reason }))]
}

/** @param ways The most frequent first. */
function joinRarest(ways: readonly CountedWay[]): readonly CountedWay[] {
  const rare = new Map<string, CountedWay>()
  for (const { end, isBillingChanged, count, lastMs, lastId } of ways.slice(MOST_WAYS)) {
    const way = rare.get(end) ?? {
      steps: [{ profile: OTHER, reason: '' }],
      end,
      isBillingChanged,
      count: 0,
      lastMs: 0,
      lastId: 0,
      points: new Map(),
    }
    rare.set(end, Object.assign(way, { count: way.count + count }, lastMs >= way.lastMs && { lastMs, lastId }))
  }
  return [...ways.slice(0, MOST_WAYS), ...rare.values()]
}

/** Who served, that no profile did, or that the caller left first; in each step of time. */
function timelineOf(ways: readonly CountedWay[], length: number): FallbacksAnswer['timeline']['ends'] {
  const ends = new Map<string, number[]>()
  for (const { end, steps, points } of ways) {
    const name = end === 'failed' ? 'not served' : end === 'aborted' ? 'aborted' : (steps.at(-1)?.profile ?? 'unknown')
    const counts = ends.get(name) ?? new Array<number>(length).fill(0)
    ends.set(name, counts)
    for (const [point, count] of points) counts[point] = (counts[point] ?? 0) + count
  }
  return [...ends].map(([name, counts]) => ({ name, counts })).sort((a, b) => a.name.localeCompare(b.name))
}

type Move = Pick<FallbackRow, 'from' | 'to' | 'reason'>

/** Each step from one profile to the next. */
function stepsOf({ steps }: CountedWay): Move[] {
  return steps.flatMap(({ profile: to, reason }, index) => {
    const from = steps[index - 1]?.profile
    return from === undefined ? [] : [{ from, to, reason }]
  })
}

/** From the preferred profile to the one that answered, where they pay differently: one for a call, whatever stood between. */
function changesOf({ steps, isBillingChanged }: CountedWay): Move[] {
  const [first, second] = steps
  const last = steps.at(-1)
  return isBillingChanged && first && last ? [{ from: first.profile, to: last.profile, reason: second?.reason ?? 'unknown' }] : []
}

function fallbackRows(
  ways: readonly CountedWay[],
  movesOf: (way: CountedWay) => Move[],
  { range, lastTrace }: { readonly range: ViewRange; readonly lastTrace: (id: number) => string },
): FallbackRow[] {
  const rows = new Map<string, Move & { count: number; lastMs: number; lastId: number }>()
  for (const way of ways) {
    for (const { from, to, reason } of movesOf(way)) {
      const key = `${from}\0${to}\0${reason}`
      const row = rows.get(key) ?? { from, to, reason, count: 0, lastMs: 0, lastId: 0 }
      const { count, lastMs, lastId } = way
      rows.set(key, Object.assign(row, { count: row.count + count }, lastMs >= row.lastMs && { lastMs, lastId }))
    }
  }
  return [...rows.values()]
    .sort((a, b) => b.count - a.count)
    .map(({ lastId, ...row }) => ({ ...row, perHour: row.count / range.hours, lastTrace: lastTrace(lastId) }))
}
