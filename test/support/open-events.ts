import type { EventKind } from '../../src/domain/events.ts'
import { type EventFields, OpenEvent, type OpenEventOptions, withinEvent } from '../../src/telemetry/open-event.ts'
import type { Telemetry } from '../../src/telemetry/telemetry.ts'

type Kind = Exclude<EventKind, 'config'>

/** Begins an event of which a test says what it likes. An `import` has its trace kept and measures nothing, a `probe` neither. */
export function openEvent(telemetry: Telemetry, kind: Kind, facts: object = {}, options?: OpenEventOptions): OpenEvent {
  return new OpenEvent(telemetry, kind, { ...facts } as EventFields<Kind>, options)
}

/** Runs `work` inside an event and ends it; a rejection is its caller's. */
export function inEvent<T>(telemetry: Telemetry, kind: Kind, work: (event: OpenEvent) => Promise<T>, facts: object = {}): Promise<T> {
  const event = openEvent(telemetry, kind, facts)
  return withinEvent(event, () => work(event))
}
