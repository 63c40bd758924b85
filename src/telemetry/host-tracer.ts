import { type Context, diag, ProxyTracerProvider, type Span, type SpanOptions, type TracerProvider, trace } from '@opentelemetry/api'
import { SCOPE } from '../../otel/semconv.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { hostApi } from './host-span.ts'

/** What the API answers while no SDK is registered. */
const NOTHING = new ProxyTracerProvider().getDelegate()

/** The tracer of whatever OpenTelemetry SDK the process has registered, if it has one: asked for each span, since it may come late. */
export class HostTracer {
  readonly #version: string

  constructor(version: string) {
    this.#version = version
  }

  /** Starts a span of the host's tracer. @param options Asked for only where there is a tracer. @returns `undefined` where no SDK is registered, or where its tracer throws. */
  startSpan(name: string, options: () => SpanOptions, context: Context): Span | undefined {
    if (!isSdkRegistered()) return undefined
    return runGuarded(
      () => trace.getTracer(SCOPE, this.#version).startSpan(name, options(), context),
      fault => diag.error('gatewatch: the tracer of the OpenTelemetry SDK of this process failed', fault),
    )
  }
}

/** Whether a tracer provider is registered that does something. */
export function isSdkRegistered(): boolean {
  const provider = trace.getTracerProvider() as TracerProvider & Partial<Pick<ProxyTracerProvider, 'getDelegate'>>
  return provider.getDelegate?.() !== NOTHING
}

/**
 * The version of an API with which a tracer provider is registered that ours does not see: an API sees nothing that one of a
 * lower minor version has registered.
 */
export function unseenApi(): string | undefined {
  const registered = hostApi()
  return registered?.trace === undefined || trace.getTracerProvider() === registered.trace ? undefined : registered.version
}
