import type { CallerCount, FallbackCount, VisitCount } from '../recorder/queries.ts'
import { inWords, table } from './table.ts'

/** What is shown of one recorder. */
export interface CallerLists {
  readonly refreshes: readonly CallerCount[]
  readonly visits: readonly VisitCount[]
  readonly fallbacks: readonly FallbackCount[]
}

/** Who refreshed, who visited the gate and which profiles were given up, as tables for people. */
export function callerTables({ refreshes, visits, fallbacks }: CallerLists, nowMs: number): string {
  const ago = (lastSeenMs: number) => `${inWords(Math.max(0, (nowMs - lastSeenMs) / 1000))} ago`
  const parts: string[] = []
  parts.push(
    refreshes.length === 0
      ? 'no token request yet'
      : `Token requests\n${table(
          ['CALLER', 'REASON', 'VIA', 'OUTCOME', 'COUNT', 'LAST'],
          refreshes.map(row => [row.caller, row.reason, row.via, row.outcome, row.count, ago(row.lastSeenMs)]),
        )}`,
  )
  if (visits.length > 0) {
    parts.push(
      `Visits at the gate\n${table(
        ['CALLER', 'REASON', 'DECISION', 'COUNT', 'LAST'],
        visits.map(row => [row.caller, row.reason, row.decision, row.count, ago(row.lastSeenMs)]),
      )}`,
    )
  }
  if (fallbacks.length > 0) {
    parts.push(
      `Fallbacks\n${table(
        ['FROM', 'TO', 'REASON', 'BILLING CHANGED', 'COUNT', 'LAST'],
        fallbacks.map(row => [row.from, row.to, row.reason, row.billingChanged, row.count, ago(row.lastSeenMs)]),
      )}`,
    )
  }
  return parts.join('\n\n')
}
