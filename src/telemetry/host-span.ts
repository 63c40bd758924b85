import type { MeterProvider, TracerProvider } from '@opentelemetry/api'

/** The host's span that was active, by its ids. */
export interface HostSpan {
  readonly traceId: string
  readonly spanId: string
  readonly traceFlags: number
}

/** Where `@opentelemetry/api` 1.x keeps what the process registered, and the key under which a context holds its span. */
const GLOBALS = Symbol.for('opentelemetry.js.api.1')
export const SPAN_KEY = Symbol.for('OpenTelemetry Context Key SPAN')

/** What the host has registered with its copy of the API. */
export interface HostApi {
  readonly version?: string
  readonly trace?: TracerProvider
  readonly metrics?: MeterProvider
  readonly context?: { active?(): HostContext }
}

/** What the host has registered, if anything. */
export function hostApi(): HostApi | undefined {
  return (globalThis as { [GLOBALS]?: HostApi })[GLOBALS]
}

interface HostContext {
  getValue(key: symbol): { spanContext?(): HostSpan } | undefined
}

/**
 * The active span of the host's OpenTelemetry, read from where its API keeps it: the API itself is not loaded, and
 * nothing is registered with it.
 */
export function hostSpan(): HostSpan | undefined {
  const found = hostApi()?.context?.active?.().getValue(SPAN_KEY)?.spanContext?.()
  if (!found || !/^[0-9a-f]{32}$/.test(found.traceId) || /^0+$/.test(found.traceId)) return undefined
  return { traceId: found.traceId, spanId: found.spanId, traceFlags: found.traceFlags }
}
