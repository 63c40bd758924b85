import { type Context, context as contexts, INVALID_SPAN_CONTEXT, isSpanContextValid, type Span, SpanKind, trace } from '@opentelemetry/api'
import { isTracingSuppressed } from '@opentelemetry/core'
import { randomHex } from '../tools/random-hex.ts'
import { LightSpan } from './light-span.ts'
import { type SpanHome, SpanTree, type TraceChoice } from './span-tree.ts'
import type { SpanOptions, SpanSource } from './telemetry.ts'

export interface LightTracerOptions extends SpanHome {
  /**
   * Decides about a trace that begins here, and about one that somebody else has begun and that goes on here.
   *
   * @param context Holds the parent, where there is one.
   */
  readonly choose: (context: Context, traceId: string, name: string, kind: SpanKind) => TraceChoice
}

/** Makes spans that cost little unless their trace is wanted. */
export class LightTracer implements SpanSource {
  readonly #options: LightTracerOptions

  constructor(options: LightTracerOptions) {
    this.#options = options
  }

  startSpan(name: string, options: Omit<SpanOptions, 'parent'> = {}, parentContext: Context = contexts.active()): Span {
    if (isTracingSuppressed(parentContext)) return trace.wrapSpanContext(INVALID_SPAN_CONTEXT)
    const { kind = SpanKind.INTERNAL, attributes, describe, links, root = false } = options
    const context = root ? trace.deleteSpan(parentContext) : parentContext
    const parent = trace.getSpan(context)
    if (parent instanceof LightSpan && parent.tree.home === this.#options)
      return new LightSpan(parent.tree, { name, kind, parent, attributes, describe, links })
    const given = parent?.spanContext()
    const isValid = given !== undefined && isSpanContextValid(given)
    const traceId = isValid ? given.traceId : randomHex(16)
    const tree = new SpanTree(this.#options, traceId, this.#options.choose(context, traceId, name, kind))
    return new LightSpan(tree, { name, kind, parent: isValid ? parent : undefined, attributes, describe, links })
  }
}
