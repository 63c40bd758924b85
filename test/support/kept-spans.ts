import type { Attributes } from '@opentelemetry/api'
import { eventSpanOf } from '../../src/events/span-events.ts'
import type { EventSpan } from '../../src/telemetry/event-span.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'
import type { RedactedProcessor } from '../../src/telemetry/redaction-processor.ts'

/** Keeps what telemetry gives to its recorders. */
export class KeptSpans implements RedactedProcessor {
  readonly spans: EventSpan[] = []
  readonly forgotten: { readonly name: string; readonly attributes: Readonly<Attributes> }[] = []

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: FinishedSpan): void {
    this.spans.push(eventSpanOf(span))
  }

  onForgotten(name: string, attributes: Readonly<Attributes>): void {
    this.forgotten.push({ name, attributes })
  }

  async forceFlush(): Promise<void> {
    // Nothing is on its way.
  }

  async shutdown(): Promise<void> {
    // What was kept can still be read.
  }

  named(name: string): EventSpan[] {
    return this.spans.filter(span => span.name === name)
  }
}
