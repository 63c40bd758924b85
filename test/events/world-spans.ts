import type { Attributes } from '@opentelemetry/api'
import { type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import {
  ATTR_CALLER,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_VIA,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'

export interface RefreshOptions {
  caller?: string
  outcome?: string
  /** Fingerprint of the token that is sent. */
  sent?: string
  startMs?: number
  durationMs?: number
  attributes?: Attributes
}

/** Makes spans that end in `processor`. */
export function spansInto(processor: SpanProcessor) {
  const tracer = new TracerProvider({ spanProcessors: [processor] }).getTracer('test')
  const refresh = ({
    caller = 'src/a.ts#f',
    outcome = 'rotated',
    sent,
    startMs = Date.now(),
    durationMs = 5,
    attributes,
  }: RefreshOptions = {}) => {
    const span = tracer.startSpan(SPAN_REFRESH, {
      startTime: startMs,
      attributes: {
        [ATTR_PROVIDER]: 'openai-codex',
        [ATTR_PROFILE]: 'openai-codex:default',
        [ATTR_CALLER]: caller,
        [ATTR_REASON]: 'expired',
        [ATTR_VIA]: 'gate',
        [ATTR_OUTCOME]: outcome,
        ...(sent && { [ATTR_REFRESH_FINGERPRINT_BEFORE]: sent }),
        ...attributes,
      },
    })
    span.end(startMs + durationMs)
    return span.spanContext()
  }
  return { tracer, refresh }
}
