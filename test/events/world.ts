import { EventStore, type EventStoreOptions } from '../../src/events/event-store.ts'
import { SpanEvents } from '../../src/events/span-events.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { spansInto } from './world-spans.ts'

/** A store of this process, fed with spans, in a folder of its own unless one is given; closed when the test is over. */
export function diskWorld(options: Partial<EventStoreOptions> = {}) {
  const folder = options.folder ?? stateFolder()
  const failures: unknown[] = []
  const recorder = new EventStore({ processRole: 'gateway', onFailure: error => failures.push(error), ...options, folder })
  afterwards(() => recorder.shutdown())
  return { folder, recorder, failures, ...spansInto(new SpanEvents(recorder)) }
}
