import {
  createContextKey,
  diag,
  type Link,
  type Span,
  type SpanContext,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
} from '@opentelemetry/api'
import { runGuarded } from '../tools/run-guarded.ts'
import { attributesOfEvent, attributesOfStep, STEP_EVENTS, spanNameOf } from './event-span.ts'
import { LightSpan, type LightSpanFacts, type SpanStep } from './light-span.ts'
import type { EventRedactor } from './redaction-event.ts'
import type { SpanTree } from './span-tree.ts'

/** Under this key a context holds the innermost span of ours, beside the host's span that is active in it. */
export const HOSTED_SPAN = createContextKey('gatewatch span')

/** What of a host's span its type does not show; the spans of every OpenTelemetry SDK have it. */
interface SdkSpan {
  readonly status?: { readonly code?: SpanStatusCode }
  readonly attributes?: Readonly<Record<string, unknown>>
}

interface HostedSpanFacts extends LightSpanFacts {
  /** The span of the host's tracer that stands for the same work. */
  readonly host: Span
  /** It is the host's own: it gets attributes it lacks, and is neither renamed nor ended here. @default false */
  readonly isBorrowed?: boolean
  readonly redactor: EventRedactor
}

/**
 * A span of ours in a process whose OpenTelemetry belongs to the host: our own light record, and the host's span.
 *
 * The identity is the host's, so that children and propagation are right. Steps and links reach the host's span at once, name,
 * attributes and status when it ends, redacted: then it is known where the caller is in the sources. What the application itself
 * sets on the active span goes to the host's span alone, as the application wrote it.
 */
export class HostedSpan extends LightSpan {
  readonly host: Span
  readonly isBorrowed: boolean
  readonly #redactor: EventRedactor
  readonly #begunAs: string
  #isDelivered = false

  constructor(tree: SpanTree, { host, isBorrowed = false, redactor, ...facts }: HostedSpanFacts) {
    super(tree, facts)
    this.host = host
    this.isBorrowed = isBorrowed
    this.#redactor = redactor
    this.#begunAs = facts.name
  }

  override spanContext(): SpanContext {
    return this.host.spanContext()
  }

  override get isFindable(): boolean {
    return (this.host.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0
  }

  override addStep(step: SpanStep): void {
    super.addStep(step)
    guarded(() => this.host.addEvent(STEP_EVENTS[step.name], attributesOfStep(this.#redactor.step(step))))
  }

  override addLink(link: Link): this {
    super.addLink(link)
    guarded(() => this.host.addLink({ context: link.context }))
    return this
  }

  /** Brings what is known of the event to the host's span, once; a span that is the host's own may end before ours does. */
  deliver(): void {
    const { subject } = this
    if (this.#isDelivered || !subject || !this.host.isRecording()) return
    this.#isDelivered = true
    guarded(() => {
      const event = this.#redactor.facts(subject.described())
      const attributes = attributesOfEvent(event)
      this.host.setAttributes(this.isBorrowed ? without(attributes, (this.host as SdkSpan).attributes) : attributes)
      if (this.isBorrowed) return
      const name = spanNameOf(event)
      if (name !== undefined && name !== this.#begunAs) this.host.updateName(name)
      // The application's own status has a message, which ours would remove.
      const isSet = ((this.host as SdkSpan).status?.code ?? SpanStatusCode.UNSET) !== SpanStatusCode.UNSET
      if (event.isError && !isSet) this.host.setStatus({ code: SpanStatusCode.ERROR })
    })
  }

  override end(at?: TimeInput): void {
    if (!this.isRecording()) return
    this.deliver()
    if (!this.isBorrowed) guarded(() => this.host.end(at))
    super.end(at)
  }
}

function without<Value>(attributes: Readonly<Record<string, Value>>, known: Readonly<Record<string, unknown>> = {}): Record<string, Value> {
  return Object.fromEntries(Object.entries(attributes).filter(([key]) => known[key] === undefined))
}

/** A fault of the host's tracer or of one of its processors is not the application's request's. */
function guarded(work: () => void): void {
  runGuarded(work, fault => diag.error('gatewatch: a span could not be passed to the OpenTelemetry SDK of this process', fault))
}
