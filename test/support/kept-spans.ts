import type { AcquireEvent, GatewatchEvent } from '../../src/domain/events.ts'
import type { EventSink } from '../../src/telemetry/event-outlet.ts'
import type { EventSpan } from '../../src/telemetry/event-span.ts'
import { spanOfEvent } from './recorded-spans.ts'

/** Keeps what telemetry gives to its event sink, as spans. */
export class KeptSpans implements EventSink {
  readonly spans: EventSpan[] = []
  readonly counted: AcquireEvent[] = []

  take(event: GatewatchEvent): void {
    this.spans.push(spanOfEvent(event))
  }

  count(event: AcquireEvent): void {
    this.counted.push(event)
  }

  async flush(): Promise<void> {
    // Nothing is on its way.
  }

  async shutdown(): Promise<void> {
    // What was kept can still be read.
  }

  named(name: string): EventSpan[] {
    return this.spans.filter(span => span.name === name)
  }
}
