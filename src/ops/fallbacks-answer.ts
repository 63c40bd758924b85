import type { Aggregates } from './aggregates.ts'
import type { FallbackRow, FallbacksAnswer } from './api-types.ts'
import { type WayBucket, type WayCount, wayOf } from './call-counts.ts'
import { pointsOf } from './calls-answer.ts'
import { hoursOf, type QueryParams } from './query-params.ts'
import { entry } from './refreshes-answer.ts'

const MOST_WAYS = 200

/** How calls went from the preferred profile to the one that served, and what drove them on. */
export function fallbacksAnswer(aggregates: Aggregates, query: QueryParams): FallbacksAnswer {
  const slice = aggregates.ways.between(query.fromMs, query.toMs)
  const { stepMs, atMs, indexOf } = pointsOf(slice, query)
  const ways = new Map<string, WayCount>()
  const ends = new Map<string, number[]>()
  for (const { atMs: at, bucket } of slice.buckets) {
    for (const count of wantedWays(bucket, query)) {
      const way = wayOf(ways, count, MOST_WAYS)
      way.count += count.count
      if (count.lastMs >= way.lastMs) Object.assign(way, { lastMs: count.lastMs, lastTrace: count.lastTrace })
      const counts = entry(ends, endOf(count), () => new Array<number>(atMs.length).fill(0))
      const index = indexOf(at)
      counts[index] = (counts[index] ?? 0) + count.count
    }
  }
  const all = [...ways.values()].sort((a, b) => b.count - a.count)
  const countOf = (wants: (way: WayCount) => boolean) => all.filter(wants).reduce((sum, { count }) => sum + count, 0)
  return {
    fromMs: query.fromMs,
    toMs: query.toMs,
    stepMs,
    calls: countOf(() => true),
    fellBack: countOf(({ steps }) => steps.length > 1),
    changedBilling: countOf(({ billingChanged }) => billingChanged),
    aborted: countOf(({ end }) => end === 'aborted'),
    notServed: countOf(({ end }) => end === 'failed'),
    ways: all.map(({ steps, end, count, lastMs, lastTrace }) => ({ steps, end, count, lastMs, lastTrace })),
    fallbacks: rowsOf(all, hoursOf(query, aggregates), stepsOf),
    billingChanges: rowsOf(all, hoursOf(query, aggregates), changesOf),
    timeline: { atMs, ends: [...ends].map(([name, counts]) => ({ name, counts })).sort((a, b) => a.name.localeCompare(b.name)) },
  }
}

/** Who served, that no profile did, or that the caller left first. */
function endOf({ steps, end }: WayCount): string {
  if (end === 'failed') return 'not served'
  return end === 'aborted' ? 'aborted' : (steps.at(-1)?.profile ?? 'unknown')
}

function* wantedWays(bucket: WayBucket, { profile }: QueryParams): Generator<WayCount> {
  for (const way of bucket.counts.values()) if (profile === '' || way.steps.some(step => step.profile === profile)) yield way
}

type Move = Pick<FallbackRow, 'from' | 'to' | 'reason'>

/** Each step from one profile to the next. */
function stepsOf({ steps }: WayCount): Move[] {
  return steps.flatMap(({ profile: to, reason }, index) => {
    const from = steps[index - 1]?.profile
    return from === undefined ? [] : [{ from, to, reason }]
  })
}

/** From the preferred profile to the one that answered, where they pay differently: one for a call, whatever stood between. */
function changesOf({ steps, billingChanged }: WayCount): Move[] {
  const [first, second] = steps
  const last = steps.at(-1)
  return billingChanged && first && last ? [{ from: first.profile, to: last.profile, reason: second?.reason ?? 'unknown' }] : []
}

function rowsOf(ways: readonly WayCount[], hours: number, movesOf: (way: WayCount) => Move[]): FallbackRow[] {
  const rows = new Map<string, { -readonly [Key in keyof FallbackRow]: FallbackRow[Key] }>()
  for (const way of ways) {
    const { count, lastMs, lastTrace } = way
    for (const { from, to, reason } of movesOf(way)) {
      const row = entry(rows, `${from}\0${to}\0${reason}`, () => ({
        ...{ from, to, reason, count: 0, perHour: 0, lastMs: 0, lastTrace: '' },
      }))
      row.count += count
      row.perHour = row.count / hours
      if (lastMs >= row.lastMs) Object.assign(row, { lastMs, lastTrace })
    }
  }
  return [...rows.values()].sort((a, b) => b.count - a.count)
}
