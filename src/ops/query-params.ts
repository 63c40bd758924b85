import type { Request } from 'express'
import type { Aggregates } from './aggregates.ts'
import type { AcquisitionFact, RefreshFact } from './span-facts.ts'

/** What a view is asked to look at. Empty words do not matter. */
export interface QueryParams {
  readonly fromMs: number
  readonly toMs: number
  readonly profile: string
  readonly reason: string
  readonly outcome: string
  readonly via: string
  readonly caller: string
  readonly stack: string
  /** `file:line` of a frame that must be on the stack. */
  readonly frame: string
  readonly by: 'count' | 'failures'
}

const WINDOWS_MS: Readonly<Record<string, number>> = {
  '5m': 300_000,
  '15m': 900_000,
  '1h': 3_600_000,
  '6h': 6 * 3_600_000,
  '24h': 24 * 3_600_000,
  '7d': 7 * 24 * 3_600_000,
  '28d': 28 * 24 * 3_600_000,
}
const DEFAULT_WINDOW_MS = 3_600_000
const SHORTEST_MS = 60_000
const LONGEST_WORD = 500
/** A time to look back to must lie in our days: a wrong one must not make a million empty steps. */
const OLDEST_MS = Date.UTC(2020)
const LATEST_MS = Date.UTC(2100)

/** Reads what a view asks for from its query. What cannot be read is left out: a link by hand must show something. */
export function queryParamsOf({ query }: Pick<Request, 'query'>, aggregates: Aggregates, nowMs: number): QueryParams {
  const word = (name: string): string => {
    const value = query[name]
    return typeof value === 'string' ? value.slice(0, LONGEST_WORD) : ''
  }
  const from = Number(word('from'))
  const to = Number(word('to'))
  const isRange = from >= OLDEST_MS && to > from && to <= LATEST_MS
  const windowMs = WINDOWS_MS[word('window')] ?? DEFAULT_WINDOW_MS
  // Time in which nothing was recorded yet would be an empty stretch in every chart, and no rate.
  const began = Math.min(aggregates.sinceMs ?? 0, nowMs - SHORTEST_MS)
  const since = word('window') === 'all' ? began : Math.max(began, nowMs - windowMs)
  return {
    fromMs: isRange ? from : Math.max(since, OLDEST_MS),
    toMs: isRange ? to : nowMs,
    profile: word('profile'),
    reason: word('reason'),
    outcome: word('outcome'),
    via: word('via'),
    caller: word('caller'),
    stack: word('stack'),
    frame: word('frame'),
    by: word('by') === 'failures' ? 'failures' : 'count',
  }
}

/** Hours that were really looked at: a process that began five minutes ago has no rate for the hour. */
export function hoursOf({ fromMs, toMs }: QueryParams, aggregates: Aggregates): number {
  const began = Math.max(fromMs, aggregates.sinceMs ?? fromMs)
  return Math.max(toMs - began, 1_000) / 3_600_000
}

export function* matchingRefreshes(aggregates: Aggregates, queryParams: QueryParams): Generator<RefreshFact> {
  const stacks = queryParams.frame === '' ? undefined : stacksThrough(aggregates, queryParams.frame)
  for (const fact of aggregates.refreshes()) {
    if (stacks && !stacks.has(fact.stackId)) continue
    if (fact.atMs < queryParams.fromMs || fact.atMs > queryParams.toMs) continue
    if (queryParams.stack !== '' && fact.stackId !== queryParams.stack) continue
    if (queryParams.via !== '' && fact.via !== queryParams.via) continue
    if (queryParams.outcome !== '' && fact.outcome !== queryParams.outcome) continue
    if (isOf(fact, queryParams)) yield fact
  }
}

export function* matchingAcquisitions(aggregates: Aggregates, queryParams: QueryParams): Generator<AcquisitionFact> {
  for (const fact of aggregates.acquisitions())
    if (fact.atMs >= queryParams.fromMs && fact.atMs <= queryParams.toMs && isOf(fact, queryParams)) yield fact
}

function stacksThrough(aggregates: Aggregates, frame: string): ReadonlySet<string> {
  const through = [...aggregates.stacks].filter(([, { stack }]) => stack?.split(/[\s(]/).some(part => part.startsWith(`${frame}:`)))
  return new Set(through.map(([stackId]) => stackId))
}

function isOf(fact: { profile: string; reason: string; caller: string }, { profile, reason, caller }: QueryParams): boolean {
  return (
    (profile === '' || fact.profile === profile) && (reason === '' || fact.reason === reason) && (caller === '' || fact.caller === caller)
  )
}
