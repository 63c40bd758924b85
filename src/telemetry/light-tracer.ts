import {
  type Context,
  context as contexts,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  type Span,
  type SpanContext,
  SpanKind,
  trace,
} from '@opentelemetry/api'
import { isTracingSuppressed } from '@opentelemetry/core'
import { LightSpan } from './light-span.ts'
import { type SpanHome, SpanTree, type TraceChoice } from './span-tree.ts'
import type { SpanOptions, SpanSource } from './telemetry.ts'

/** A trace that begins here, or that somebody else has begun and that goes on here. */
export interface TraceBeginning {
  readonly context: Context
  /** Its beginner's span; absent when the trace begins here. */
  readonly from: SpanContext | undefined
  /** Says the id of the trace, which is drawn when it is asked for. */
  readonly tree: Pick<SpanTree, 'traceId'>
  /** Moment of the monotonic clock, in ms. */
  readonly at: number
  readonly name: string
  readonly kind: SpanKind
}

export interface LightTracerOptions extends SpanHome {
  /** Decides what is kept of a trace. */
  readonly choose: (beginning: TraceBeginning) => TraceChoice
}

/** Makes spans that cost little unless their trace is wanted. */
export class LightTracer implements SpanSource {
  readonly #options: LightTracerOptions

  constructor(options: LightTracerOptions) {
    this.#options = options
  }

  startSpan(name: string, options: SpanOptions = {}, parentContext: Context = contexts.active()): Span {
    if (isTracingSuppressed(parentContext)) return trace.wrapSpanContext(INVALID_SPAN_CONTEXT)
    const { kind = SpanKind.INTERNAL, attributes, describe, links, root = false } = options
    const context = root ? trace.deleteSpan(parentContext) : parentContext
    const parent = trace.getSpan(context)
    const at = performance.now()
    if (parent instanceof LightSpan && parent.tree.home === this.#options)
      return new LightSpan(parent.tree, { at, name, kind, parent, attributes, describe, links })
    const given = parent?.spanContext()
    const from = given !== undefined && isSpanContextValid(given) ? given : undefined
    const tree = new SpanTree(this.#options, from?.traceId)
    tree.choose(this.#options.choose({ context, from, tree, at, name, kind }))
    return new LightSpan(tree, { at, name, kind, parent: from && parent, attributes, describe, links })
  }
}
