import type { AcquisitionCount, CallerCount, FallbackCount } from '../events/queries.ts'
import { inWords, textTable } from './table.ts'

/** What is shown of one recorder. */
export interface CallerLists {
  readonly refreshes: readonly CallerCount[]
  readonly acquisitions: readonly AcquisitionCount[]
  readonly fallbacks: readonly FallbackCount[]
  readonly billingChanges: readonly FallbackCount[]
}

/** Who refreshed, who acquired a token at the gate and which profiles were given up, as tables for people. */
export function callerTables({ refreshes, acquisitions, fallbacks, billingChanges }: CallerLists, nowMs: number): string {
  const ago = (lastSeenMs: number) => `${inWords(Math.max(0, (nowMs - lastSeenMs) / 1000))} ago`
  const parts: string[] = []
  parts.push(
    refreshes.length === 0
      ? 'no token request yet'
      : `Token requests\n${textTable(
          ['CALLER', 'REASON', 'VIA', 'OUTCOME', 'COUNT', 'LAST'],
          refreshes.map(row => [row.caller, row.reason, row.via, row.outcome, row.count, ago(row.lastSeenMs)]),
        )}`,
  )
  if (acquisitions.length > 0) {
    parts.push(
      `Acquisitions at the gate\n${textTable(
        ['CALLER', 'REASON', 'DECISION', 'COUNT', 'LAST'],
        acquisitions.map(row => [row.caller, row.reason, row.decision, row.count, ago(row.lastSeenMs)]),
      )}`,
    )
  }
  const moves = (title: string, from: string, to: string, rows: readonly FallbackCount[]) => {
    if (rows.length === 0) return
    const lines = rows.map(row => [row.from, row.to, row.reason, row.count, ago(row.lastSeenMs)])
    parts.push(`${title}\n${textTable([from, to, 'REASON', 'COUNT', 'LAST'], lines)}`)
  }
  moves('Fallbacks', 'FROM', 'TO', fallbacks)
  moves('Answered at another price', 'MEANT FOR', 'ANSWERED BY', billingChanges)
  return parts.join('\n\n')
}
