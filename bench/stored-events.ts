import type { GatewatchEvent } from '../src/domain/events.ts'
import { EventWriter, writtenBatch } from '../src/events/event-writer.ts'
import { knownProcess, processRow } from '../src/events/process-row.ts'

const AT_ONCE = 2_000
/** Nothing that a benchmark writes is cleared away. */
const BOUNDS = { mostKept: 1_000_000_000, mostBulk: 1_000_000_000, mostBytes: 8_000_000_000, mostAgeMs: 30 * 86_400_000 } as const

/** Adds events to the store of a state folder, as one process does. */
export function storeEvents(folder: string, count: number, eventOf: (index: number) => GatewatchEvent): void {
  const writer = new EventWriter({ folder, self: () => processRow(knownProcess('gateway', 'bench')), bounds: BOUNDS })
  for (let from = 0; from < count; from += AT_ONCE) {
    const events = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, index) => eventOf(from + index))
    writer.tryWrite(writtenBatch(events, { dropped: 0, exports: false }), 5_000)
  }
  writer.close()
}
