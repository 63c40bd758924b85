import type { Request } from 'express'
import type { Ledger } from './aggregates.ts'
import type { RefreshFact, VisitFact } from './span-facts.ts'

/** What a view is asked to look at. Empty words do not matter. */
export interface Wanted {
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
export function wantedOf({ query }: Pick<Request, 'query'>, ledger: Ledger, nowMs: number): Wanted {
  const word = (name: string): string => {
    const value = query[name]
    return typeof value === 'string' ? value.slice(0, LONGEST_WORD) : ''
  }
  const from = Number(word('from'))
  const to = Number(word('to'))
  const isRange = from >= OLDEST_MS && to > from && to <= LATEST_MS
  const windowMs = WINDOWS_MS[word('window')] ?? DEFAULT_WINDOW_MS
  // Time in which nothing was recorded yet would be an empty stretch in every chart, and no rate.
  const began = Math.min(ledger.sinceMs ?? 0, nowMs - SHORTEST_MS)
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
export function hoursOf({ fromMs, toMs }: Wanted, ledger: Ledger): number {
  const began = Math.max(fromMs, ledger.sinceMs ?? fromMs)
  return Math.max(toMs - began, 1_000) / 3_600_000
}

export function* refreshesWanted(ledger: Ledger, wanted: Wanted): Generator<RefreshFact> {
  const stacks = wanted.frame === '' ? undefined : stacksThrough(ledger, wanted.frame)
  for (const fact of ledger.refreshes()) {
    if (stacks && !stacks.has(fact.stackId)) continue
    if (fact.atMs < wanted.fromMs || fact.atMs > wanted.toMs) continue
    if (wanted.stack !== '' && fact.stackId !== wanted.stack) continue
    if (wanted.via !== '' && fact.via !== wanted.via) continue
    if (wanted.outcome !== '' && fact.outcome !== wanted.outcome) continue
    if (isOf(fact, wanted)) yield fact
  }
}

export function* visitsWanted(ledger: Ledger, wanted: Wanted): Generator<VisitFact> {
  for (const fact of ledger.visits()) if (fact.atMs >= wanted.fromMs && fact.atMs <= wanted.toMs && isOf(fact, wanted)) yield fact
}

function stacksThrough(ledger: Ledger, frame: string): ReadonlySet<string> {
  const through = [...ledger.stacks].filter(([, { stack }]) => stack?.split(/[\s(]/).some(part => part.startsWith(`${frame}:`)))
  return new Set(through.map(([stackId]) => stackId))
}

function isOf(fact: { profile: string; reason: string; caller: string }, { profile, reason, caller }: Wanted): boolean {
  return (
    (profile === '' || fact.profile === profile) && (reason === '' || fact.reason === reason) && (caller === '' || fact.caller === caller)
  )
}
