import type { DatabaseSync } from 'node:sqlite'
import { gateBypasses } from './bypasses.ts'
import { newestRefreshes, refreshCallers } from './callers.ts'
import { callStatistics } from './calls.ts'
import { fallbackWays } from './fallbacks.ts'
import { storeOverview } from './overview.ts'
import { profileEvents } from './profiles.ts'
import { refreshSpeedscope, refreshStacks } from './stacks.ts'
import { traceSpans } from './trace.ts'

/**
 * A question to the event store: one of the functions in this folder. Answered synchronously from one state of the store; its
 * arguments and its answer are plain data, since it runs in the store's thread or, for a command, on the main thread.
 */
export type EventQuery = (database: DatabaseSync, args: never) => unknown

/** Every query by its name: what `EventStore.query(name, args)` accepts. */
export const EVENT_QUERIES = {
  callStatistics,
  fallbackWays,
  gateBypasses,
  newestRefreshes,
  profileEvents,
  refreshCallers,
  refreshSpeedscope,
  refreshStacks,
  storeOverview,
  traceSpans,
} as const satisfies Readonly<Record<string, EventQuery>>

export type EventQueries = typeof EVENT_QUERIES
export type EventQueryName = keyof EventQueries
