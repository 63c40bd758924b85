import type { EventStoreOptions } from '../../src/events/event-store.ts'
import { SpanEvents } from '../../src/events/span-events.ts'
import { storeWorld } from './world-events.ts'
import { spansInto } from './world-spans.ts'

/** As `storeWorld`, fed with spans. */
export function diskWorld(options: Partial<EventStoreOptions> = {}) {
  const { folder, store } = storeWorld(options)
  return { folder, store, ...spansInto(new SpanEvents(store)) }
}
