import {
  type Attributes,
  createContextKey,
  diag,
  type Link,
  type Span,
  type SpanContext,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
} from '@opentelemetry/api'
import { mappedCaller } from '../callers/caller.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { LightSpan, type LightSpanFacts } from './light-span.ts'
import type { AttributeRedactor } from './redaction-attributes.ts'
import type { SpanTree } from './span-tree.ts'

/** Under this key a context holds the innermost span of ours, beside the host's span that is active in it. */
export const HOSTED_SPAN = createContextKey('gatewatch span')

/** What of a host's span its type does not show; the spans of every OpenTelemetry SDK have it. */
interface SdkSpan {
  readonly status?: { readonly code?: SpanStatusCode }
  readonly attributes?: Attributes
}

interface HostedSpanFacts extends LightSpanFacts {
  /** The span of the host's tracer that stands for the same work. */
  readonly host: Span
  /** It is the host's own: it gets attributes it lacks, and is neither renamed nor ended here. @default false */
  readonly isBorrowed?: boolean
  readonly screen: AttributeRedactor
}

/**
 * A span of ours in a process whose OpenTelemetry belongs to the host: our own light record, and the host's span.
 *
 * The identity is the host's, so that children and propagation are right. Events and links reach the host's span at once, name,
 * attributes and status when it ends, screened: then it is known where the caller is in the sources. What the application itself
 * sets on the active span goes to the host's span alone, as the application wrote it.
 */
export class HostedSpan extends LightSpan {
  readonly host: Span
  readonly isBorrowed: boolean
  readonly #screen: AttributeRedactor
  readonly #begunAs: string
  #isDelivered = false

  constructor(tree: SpanTree, { host, isBorrowed = false, screen, links, ...facts }: HostedSpanFacts) {
    super(tree, facts)
    this.host = host
    this.isBorrowed = isBorrowed
    this.#screen = screen
    this.#begunAs = facts.name
    if (links) this.addLinks([...links])
  }

  override spanContext(): SpanContext {
    return this.host.spanContext()
  }

  override get isFindable(): boolean {
    return (this.host.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0
  }

  override addEvent(name: string, attributesOrTime?: unknown): this {
    super.addEvent(name, attributesOrTime)
    const attributes = typeof attributesOrTime === 'object' ? (attributesOrTime as Attributes) : undefined
    guarded(() => this.host.addEvent(this.#screen.name(name), this.#screened(attributes)))
    return this
  }

  override addLink(link: Link): this {
    super.addLink(link)
    guarded(() => this.host.addLink({ context: link.context, attributes: this.#screened(link.attributes) }))
    return this
  }

  /** Brings what is known of the span to the host's, once; a span that is the host's own may end before ours does. */
  deliver(): void {
    if (this.#isDelivered || !this.host.isRecording()) return
    this.#isDelivered = true
    guarded(() => {
      const attributes = this.#screened(this.settled())
      this.host.setAttributes(this.isBorrowed ? without(attributes, (this.host as SdkSpan).attributes) : attributes)
      if (this.isBorrowed) return
      if (this.name !== this.#begunAs) this.host.updateName(this.#screen.name(this.name))
      // The application's own status has a message, which ours would remove.
      const isSet = ((this.host as SdkSpan).status?.code ?? SpanStatusCode.UNSET) !== SpanStatusCode.UNSET
      if (this.status.code === SpanStatusCode.ERROR && !isSet) this.host.setStatus({ code: SpanStatusCode.ERROR })
    })
  }

  override end(at?: TimeInput): void {
    if (!this.isRecording()) return
    this.deliver()
    if (!this.isBorrowed) guarded(() => this.host.end(at))
    super.end(at)
  }

  #screened(attributes: Attributes | undefined): Attributes {
    return attributes ? this.#screen.attributes(mappedCaller(attributes)).attributes : {}
  }
}

function without(attributes: Attributes, known: Attributes = {}): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([key]) => known[key] === undefined))
}

/** A fault of the host's tracer or of one of its processors is not the application's request's. */
function guarded(work: () => void): void {
  runGuarded(work, fault => diag.error('gatewatch: a span could not be passed to the OpenTelemetry SDK of this process', fault))
}
