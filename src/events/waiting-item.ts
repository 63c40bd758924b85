import type { GatewatchEvent } from '../domain/events.ts'
import type { CounterIncrement } from './event-counters.ts'

/** Counts of events that are not stored. */
export interface CountedItem {
  readonly kind: 'counted'
  readonly counts: readonly CounterIncrement[]
}

/** What waits to be written. */
export type WaitingItem = GatewatchEvent | CountedItem
