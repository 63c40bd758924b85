import type { GatewatchEvent } from '../../src/domain/events.ts'
import { EventReader } from '../../src/events/event-reader.ts'
import type { EventSource } from '../../src/events/event-store.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { attributesOfEvent, attributesOfStep, type EventSpan, STEP_EVENTS, spanKindOf, spanNameOf } from '../../src/telemetry/event-span.ts'

/** The span that an event is written as. */
export function spanOfEvent(event: GatewatchEvent): EventSpan {
  const { traceId, spanId, parentSpanId, startMs, durationMs, isError, steps, links, process } = event
  return {
    ...{ traceId, spanId, parentSpanId, startMs, durationMs, links, process },
    name: spanNameOf(event) ?? '',
    kind: spanKindOf(event),
    status: isError ? 'error' : 'unset',
    attributes: attributesOfEvent(event) as EventSpan['attributes'],
    events: steps.map(step => ({
      name: STEP_EVENTS[step.name],
      atMs: step.atMs,
      attributes: attributesOfStep(step) as NonNullable<EventSpan['attributes']>,
    })),
  }
}

/** The spans of all events that are taken from now on, kept ones alone; the array grows. */
export function followedSpans(events: EventSource): readonly EventSpan[] {
  const spans: EventSpan[] = []
  events.follow(event => {
    if (event.spanId !== '') spans.push(spanOfEvent(event))
  })
  return spans
}

/** Everything that the processes of a state folder recorded, as spans, the oldest first. */
export function recordedSpans(folder: string): EventSpan[] {
  const events = readEvents(folder, database => [...new EventReader(database).events()])
  // Of a configuration there is no span.
  return events
    .filter(({ kind }) => kind !== 'config')
    .map(spanOfEvent)
    .sort((a, b) => a.startMs - b.startMs)
}
