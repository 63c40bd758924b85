import {
  type Context,
  createContextKey,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  type Span,
  type SpanContext,
  SpanKind,
  trace,
} from '@opentelemetry/api'
import { activeContext } from './active-context.ts'
import { attributesOfEvent } from './event-span.ts'
import type { HostTracer } from './host-tracer.ts'
import { HOSTED_SPAN, HostedSpan } from './hosted-span.ts'
import { LightSpan, type LightSpanFacts } from './light-span.ts'
import { EventRedactor } from './redaction-event.ts'
import { type SpanHome, SpanTree, type TraceChoice } from './span-tree.ts'
import type { SpanOptions, SpanSource } from './telemetry.ts'

/** A trace that begins here, or that another caller has begun and that goes on here. */
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
  /** The tracer of the process this is a guest in: each span is one of its spans too. @default none, the process is our own */
  readonly host?: HostTracer
}

/** Where `suppressTracing` of `@opentelemetry/core` puts its mark. */
const SUPPRESSED = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** Makes spans that cost little unless their trace is wanted. */
export class LightTracer implements SpanSource {
  readonly #options: LightTracerOptions
  /** For what reaches the host's spans. */
  readonly #redactor: EventRedactor | undefined

  constructor(options: LightTracerOptions) {
    this.#options = options
    if (options.host) this.#redactor = new EventRedactor()
  }

  startSpan(name: string, options: SpanOptions, parentContext: Context = activeContext()): Span {
    if (parentContext.getValue(SUPPRESSED) === true) return trace.wrapSpanContext(INVALID_SPAN_CONTEXT)
    const { kind = SpanKind.INTERNAL, subject } = options
    const facts = { at: performance.now(), name, kind, parent: undefined, subject }
    const redactor = this.#redactor
    if (!redactor) return this.#startLight(facts, parentContext)
    // A sampler of the host may look at what is known by now.
    const known = () => ({ kind, attributes: attributesOfEvent(redactor.facts(subject.facts)) })
    const host = options.onto ?? this.#options.host?.startSpan(name, known, parentContext)
    if (!host) return this.#startLight(facts, parentContext)
    return this.#startHosted({ ...facts, host, isBorrowed: options.onto !== undefined, redactor }, parentContext)
  }

  #startLight(facts: LightSpanFacts, context: Context): LightSpan {
    const parent = trace.getSpan(context)
    if (parent instanceof LightSpan && parent.tree.home === this.#options) return new LightSpan(parent.tree, { ...facts, parent })
    const given = parent?.spanContext()
    const from = given !== undefined && isSpanContextValid(given) ? given : undefined
    const tree = new SpanTree(this.#options, from?.traceId)
    const { at, name, kind } = facts
    tree.choose(this.#options.choose({ context, from, tree, at, name, kind }))
    return new LightSpan(tree, { ...facts, parent: from && parent })
  }

  /** What is kept of the trace here does not depend on what the host samples: it is chosen as if the trace began here. */
  #startHosted(facts: ConstructorParameters<typeof HostedSpan>[1], context: Context): HostedSpan {
    const { traceId } = facts.host.spanContext()
    const ours = context.getValue(HOSTED_SPAN)
    // The application may have begun another trace since.
    if (ours instanceof HostedSpan && ours.tree.home === this.#options && ours.spanContext().traceId === traceId)
      return new HostedSpan(ours.tree, { ...facts, parent: ours })
    const parent = trace.getSpan(context)
    const isChild = parent !== undefined && parent !== facts.host && parent.spanContext().traceId === traceId
    const tree = new SpanTree(this.#options, traceId)
    const { at, name, kind } = facts
    tree.choose(this.#options.choose({ context, from: undefined, tree, at, name, kind }))
    return new HostedSpan(tree, { ...facts, parent: isChild ? parent : undefined })
  }
}
