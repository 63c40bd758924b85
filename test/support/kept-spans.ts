import type { Attributes } from '@opentelemetry/api'
import { rowOf, type SpanRow } from '../../src/events/span-row.ts'
import type { FinishedSpan } from '../../src/telemetry/finished-span.ts'
import type { RedactedProcessor } from '../../src/telemetry/redaction-processor.ts'

/** Keeps what telemetry gives to its recorders. */
export class KeptSpans implements RedactedProcessor {
  readonly spans: SpanRow[] = []
  readonly forgotten: { readonly name: string; readonly attributes: Readonly<Attributes> }[] = []

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: FinishedSpan): void {
    this.spans.push(rowOf(span))
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

  named(name: string): SpanRow[] {
    return this.spans.filter(span => span.name === name)
  }
}
