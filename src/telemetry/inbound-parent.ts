import type { IncomingHttpHeaders } from 'node:http'
import { type Context, createContextKey, propagation, type Span, SpanKind, TraceFlags, trace } from '@opentelemetry/api'
import { isSdkRegistered } from './host-tracer.ts'
import { LightSpan } from './light-span.ts'

/** Where `setRPCMetadata` of `@opentelemetry/core` puts the SERVER span that instrumentation-http has made. */
const RPC_METADATA = createContextKey('OpenTelemetry SDK Context Key RPC_METADATA')

/** `traceparent` of W3C Trace Context, section 3.2.2: later versions may have more fields. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/

/**
 * The SERVER span of the host for the request that is being served: the active span, or the one above it that
 * instrumentation-http has noted, since instrumentation-express puts a span of its own between.
 *
 * The kind of a span is no part of the API; the spans of the SDKs show it.
 */
export function hostServerSpan(active: Context): Span | undefined {
  const span = trace.getSpan(active)
  if (span && isHostServer(span)) return span
  const noted = (active.getValue(RPC_METADATA) as { readonly span?: Span } | undefined)?.span
  const isOfTrace = noted?.spanContext().traceId === span?.spanContext().traceId
  return noted && isOfTrace && isHostServer(noted) ? noted : undefined
}

function isHostServer(span: Span): boolean {
  return !(span instanceof LightSpan) && (span as { readonly kind?: SpanKind }).kind === SpanKind.SERVER
}

/**
 * The context an inbound request is a child of: the active one, or else what the client sent, as the propagators of the process
 * read it. Where no SDK is registered, and so no propagator, `traceparent` is read here.
 */
export function parentOfRequest(active: Context, headers: IncomingHttpHeaders): Context {
  if (trace.getSpanContext(active)) return active
  if (isSdkRegistered()) return propagation.extract(active, headers)
  const sent = headers.traceparent
  if (typeof sent !== 'string') return active
  const [, , traceId, spanId, flags] = TRACEPARENT.exec(sent.trim()) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return active
  return trace.setSpanContext(active, { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true })
}
