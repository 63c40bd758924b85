import type { DatabaseSync } from 'node:sqlite'
import { gateBypasses } from './bypasses.ts'
import { newestRefreshes, refreshCallers } from './callers.ts'
import { callStatistics } from './calls.ts'
import { eventCounts } from './counts.ts'
import { eventPiece } from './event-piece.ts'
import { fallbackWays } from './fallbacks.ts'
import { storeOverview, storeVersion } from './overview.ts'
import { recordingProcesses } from './processes.ts'
import { profileEvents } from './profiles.ts'
import { refreshList } from './refresh-list.ts'
import { refreshSpeedscope, refreshStacks } from './stacks.ts'
import { tokenReplays } from './token-replays.ts'
import { traceSpans } from './trace.ts'

/**
 * A question to the event store: one of the functions in this folder. Answered synchronously from one state of the store; its
 * arguments and its answer are plain data, since it runs in the store's thread or, for a command, on the main thread.
 */
export type EventQuery = (database: DatabaseSync, args: never) => unknown

/** Every query by its name: what `EventStore.query(name, args)` accepts. */
export const EVENT_QUERIES = {
  callStatistics,
  eventCounts,
  eventPiece,
  fallbackWays,
  gateBypasses,
  newestRefreshes,
  profileEvents,
  recordingProcesses,
  refreshCallers,
  refreshList,
  refreshSpeedscope,
  refreshStacks,
  storeOverview,
  storeVersion,
  tokenReplays,
  traceSpans,
} as const satisfies Readonly<Record<string, EventQuery>>

export type EventQueries = typeof EVENT_QUERIES
export type EventQueryName = keyof EventQueries

/** Answers a query by its name. @throws {RangeError} for a name that no query has, and what the query throws. */
export function answerQuery(database: DatabaseSync, name: string, args: unknown): unknown {
  if (!Object.hasOwn(EVENT_QUERIES, name)) throw new RangeError(`there is no query ${name}`)
  return EVENT_QUERIES[name as EventQueryName](database, args as never)
}

/** An answer as JSON in UTF-8. */
export function jsonBytes(answer: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(answer))
}
