import type { Aggregates } from './aggregates.ts'
import type { CallRow, CallsAnswer } from './api-types.ts'
import { type AttemptBucket, type AttemptCount, countOf, outcomeClassOf } from './call-counts.ts'
import { Durations } from './durations.ts'
import { hoursOf, type QueryParams } from './query-params.ts'
import type { Slice } from './time-buckets.ts'

/** Points of a curve; more cannot be distinguished on a screen. */
export const MOST_POINTS = 240
const MOST_KEYS = 500

/** Rate, errors, latency and time to the first chunk of the upstream requests, over time and by profile and model. */
export function callsAnswer(aggregates: Aggregates, query: QueryParams): CallsAnswer {
  const slice = aggregates.attempts.between(query.fromMs, query.toMs)
  const { stepMs, atMs, indexOf } = pointsOf(slice, query)
  const points = atMs.map(() => ({ good: 0, failed: 0, aborted: 0, all: new Durations(), first: new Durations() }))
  const rows = new Map<string, AttemptCount>()
  const all = new Durations()
  const first = new Durations()
  for (const { atMs: at, bucket } of slice.buckets) {
    const point = points[indexOf(at)]
    for (const count of wantedCounts(bucket, query)) {
      const row = countOf(rows, count, MOST_KEYS)
      row.count += count.count
      if (count.lastMs >= row.lastMs) Object.assign(row, { lastMs: count.lastMs, lastTrace: count.lastTrace })
      for (const into of [row.durations, all, point?.all]) into?.addAll(count.durations)
      for (const into of [row.firstChunks, first, point?.first]) into?.addAll(count.firstChunks)
      if (point) point[outcomeClassOf(count)] += count.count
    }
  }
  const curve = (pick: (point: (typeof points)[number]) => number | undefined) => points.map(point => pick(point) ?? null)
  return {
    fromMs: query.fromMs,
    toMs: query.toMs,
    stepMs,
    total: all.count,
    failures: points.reduce((sum, { failed }) => sum + failed, 0),
    aborts: points.reduce((sum, { aborted }) => sum + aborted, 0),
    p50Ms: all.quantile(0.5),
    p95Ms: all.quantile(0.95),
    firstChunkMs: first.quantile(0.5),
    atMs,
    good: points.map(({ good }) => good),
    failed: points.map(({ failed }) => failed),
    aborted: points.map(({ aborted }) => aborted),
    p50: curve(point => point.all.quantile(0.5)),
    p95: curve(point => point.all.quantile(0.95)),
    first50: curve(point => point.first.quantile(0.5)),
    first95: curve(point => point.first.quantile(0.95)),
    rows: rowsOf(rows.values(), hoursOf(query, aggregates)),
  }
}

/** Steps of equal length over the time that is looked at, each some buckets long. */
export function pointsOf(
  slice: Slice<unknown>,
  { toMs }: QueryParams,
): { stepMs: number; atMs: number[]; indexOf: (atMs: number) => number } {
  const steps = Math.ceil((toMs - slice.fromMs + 1) / slice.stepMs)
  const stepMs = slice.stepMs * Math.max(1, Math.ceil(steps / MOST_POINTS))
  const count = Math.min(MOST_POINTS, Math.ceil((toMs - slice.fromMs + 1) / stepMs))
  const atMs = Array.from({ length: count }, (_, index) => slice.fromMs + index * stepMs)
  return { stepMs, atMs, indexOf: at => Math.min(count - 1, Math.max(0, Math.floor((at - slice.fromMs) / stepMs))) }
}

function* wantedCounts(bucket: AttemptBucket, { profile, outcome }: QueryParams): Generator<AttemptCount> {
  for (const count of bucket.counts.values())
    if ((profile === '' || count.profile === profile) && (outcome === '' || count.outcome === outcome)) yield count
}

function rowsOf(counts: Iterable<AttemptCount>, hours: number): CallRow[] {
  return [...counts]
    .map(({ profile, model, outcome, count, durations, firstChunks, lastMs, lastTrace }) => ({
      ...{ profile, model, outcome, count, lastMs, lastTrace },
      perHour: count / hours,
      p50Ms: durations.quantile(0.5),
      p95Ms: durations.quantile(0.95),
      firstChunkMs: firstChunks.quantile(0.5),
    }))
    .sort((a, b) => b.count - a.count)
}
