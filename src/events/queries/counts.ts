import type { DatabaseSync } from 'node:sqlite'
import type { Counter } from '../event-schema.ts'

/** How often something happened since the store was begun, by its labels. */
export interface RecordedCount {
  readonly count: number
  /** Epoch milliseconds. */
  readonly lastSeenMs: number
}

/** Token requests of refreshes by who, why, which way and how they ended. `outcome` is empty where none was known. */
export interface RefreshCount extends RecordedCount {
  readonly caller: string
  readonly reason: string
  readonly via: string
  readonly outcome: string
}

/** Acquisitions at the gate by who, why and what the gate did. */
export interface AcquireCount extends RecordedCount {
  readonly caller: string
  readonly reason: string
  readonly decision: string
}

/** Calls that went on from one profile to another, and what drove them. */
export interface MoveCount extends RecordedCount {
  readonly from: string
  readonly to: string
  readonly reason: string
}

/** Every counter, each with the most frequent first. */
export interface EventCounts {
  readonly refreshes: readonly RefreshCount[]
  readonly acquisitions: readonly AcquireCount[]
  readonly fallbacks: readonly MoveCount[]
  /** Calls that were answered by a profile that pays otherwise than the preferred one. */
  readonly billingChanges: readonly MoveCount[]
}

/** Counts that outlive the events they counted. */
export function eventCounts(database: DatabaseSync): EventCounts {
  const moves = ['from_profile AS "from"', 'to_profile AS "to"', 'reason']
  return {
    refreshes: rowsOf(database, 'refresh', ['caller', 'reason', 'via', 'outcome']),
    acquisitions: rowsOf(database, 'acquisition', ['caller', 'reason', 'decision']),
    fallbacks: rowsOf(database, 'fallback', moves),
    billingChanges: rowsOf(database, 'billing_change', moves),
  }
}

function rowsOf<Row extends RecordedCount>(database: DatabaseSync, name: Counter, labels: readonly string[]): Row[] {
  const query = `SELECT ${labels.join(', ')}, count, last_ms AS "lastSeenMs" FROM counter WHERE name = ? ORDER BY count DESC, last_ms DESC`
  return database
    .prepare(query)
    .all(name)
    .map(row => ({ ...row }) as unknown as Row)
}
