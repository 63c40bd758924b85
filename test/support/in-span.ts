import type { Span } from '@opentelemetry/api'
import { activeContext, runInContext } from '../../src/telemetry/active-context.ts'
import { contextWith, type SpanOptions, type Telemetry } from '../../src/telemetry/telemetry.ts'

/** Runs `work` inside a span and ends it; a rejection is its caller's. */
export async function inSpan<T>(telemetry: Telemetry, name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T> {
  const span = telemetry.startSpan(name, options)
  try {
    return await runInContext(contextWith(options.parent ?? activeContext(), span), () => work(span))
  } finally {
    span.end()
  }
}
