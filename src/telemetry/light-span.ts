import {
  type Attributes,
  type AttributeValue,
  type HrTime,
  type Link,
  type Span,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
} from '@opentelemetry/api'
import { randomHex } from '../tools/random-hex.ts'
import { type FinishedSpan, hrTimeOf } from './finished-span.ts'
import type { EndedSpan, SpanTree } from './span-tree.ts'
import { isAlwaysKeptAttribute, isAlwaysKeptEvent, isAlwaysKeptSpan } from './tail-sampling.ts'

export interface LightSpanFacts {
  /** When it begins, by the monotonic clock, in ms. */
  readonly at: number
  readonly name: string
  readonly kind: SpanKind
  /** The span it is a child of: one of ours, or a valid one from elsewhere. */
  readonly parent: Pick<Span, 'spanContext'> | undefined
  readonly attributes?: Attributes | undefined
  readonly describe?: (() => Attributes) | undefined
  readonly links?: readonly Link[] | undefined
}

/** @property at Moment of the monotonic clock, in ms. */
interface LightEvent {
  readonly name: string
  readonly at: number
  readonly attributes: Attributes | undefined
}

/** From so long on a span is worth keeping for being slow, in ms. */
const SLOW_MS = 30_000

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET }
const NO_EVENTS: LightEvent[] = []
const NO_LINKS: Link[] = []

/**
 * A span that costs little until a caller wants it: its id, its times and its attributes are worked out when they are
 * read, which for an ordinary span of a trace that is not kept is never.
 *
 * Attributes are not checked here: nothing leaves but through the screen of the redaction, which checks each of them.
 */
export class LightSpan implements Span, EndedSpan {
  name: string
  readonly kind: SpanKind
  readonly tree: SpanTree
  status: SpanStatus = UNSET
  #ended = false
  #droppedEvents = 0
  #droppedLinks = 0
  readonly #parent: Pick<Span, 'spanContext'> | undefined
  readonly #startedAt: number
  #endedAt = 0
  #context: SpanContext | undefined
  #set: Attributes | undefined
  #setCount = 0
  #describe: (() => Attributes) | undefined
  #events: LightEvent[] = NO_EVENTS
  #links: Link[] = NO_LINKS

  constructor(tree: SpanTree, { at, name, kind, parent, attributes, describe, links }: LightSpanFacts) {
    this.#startedAt = at
    this.tree = tree
    this.name = name
    this.kind = kind
    this.#parent = parent
    this.#describe = describe
    if (attributes) this.setAttributes(attributes)
    if (links) this.addLinks([...links])
    tree.began()
    if (isAlwaysKeptSpan(name)) tree.keep()
  }

  /** The flags are those of now: a trace that is kept after the fact is sampled from then on. */
  spanContext(): SpanContext {
    const traceFlags = this.tree.isExported ? TraceFlags.SAMPLED : TraceFlags.NONE
    if (this.#context) this.#context.traceFlags = traceFlags
    else {
      const traceState = this.#parent?.spanContext().traceState
      this.#context = { traceId: this.tree.traceId, spanId: randomHex(8), traceFlags, ...(traceState && { traceState }) }
    }
    return this.#context
  }

  setAttribute(key: string, value: AttributeValue): this {
    if (this.#ended) return this
    if (isAlwaysKeptAttribute(key, value)) this.tree.keep()
    this.#set ??= {}
    if (this.#set[key] === undefined) {
      this.#setCount += 1
      if (this.#setCount > this.tree.home.limits.attributes) return this
    }
    this.#set[key] = value
    return this
  }

  setAttributes(attributes: Attributes): this {
    for (const key in attributes) {
      const value = attributes[key]
      if (value !== undefined) this.setAttribute(key, value)
    }
    return this
  }

  addEvent(name: string, attributesOrTime?: unknown): this {
    if (this.#ended) return this
    if (isAlwaysKeptEvent(name)) this.tree.keep()
    const event = { name, at: performance.now(), attributes: isAttributes(attributesOrTime) ? attributesOrTime : undefined }
    if (this.#events === NO_EVENTS) this.#events = []
    this.#droppedEvents += pushed(this.#events, event, this.tree.home.limits.events)
    return this
  }

  addLink(link: Link): this {
    if (this.#ended) return this
    if (this.#links === NO_LINKS) this.#links = []
    this.#droppedLinks += pushed(this.#links, link, this.tree.home.limits.links)
    return this
  }

  addLinks(links: Link[]): this {
    for (const link of links) this.addLink(link)
    return this
  }

  setStatus({ code }: SpanStatus): this {
    if (this.#ended || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK) return this
    this.status = { code }
    if (code === SpanStatusCode.ERROR) this.tree.keep()
    return this
  }

  updateName(name: string): this {
    if (!this.#ended) this.name = name
    return this
  }

  isRecording(): boolean {
    return !this.#ended
  }

  /** Keeps nothing: the text of an error may hold anything, and its type is an attribute. */
  recordException(): void {
    // See above.
  }

  /** @param at When it ended, as `performance.now` says it. @default now */
  end(at?: TimeInput): void {
    if (this.#ended) return
    this.#ended = true
    const now = performance.now()
    this.#endedAt = typeof at === 'number' && at >= this.#startedAt && at <= now ? at : now
    if (this.#endedAt - this.#startedAt >= SLOW_MS) this.tree.keep()
    this.tree.ended(this)
  }

  /** Whether a reader can find the trace of this span later, so that a measurement may point to it. */
  get isFindable(): boolean {
    return this.tree.isExported
  }

  /** All attributes as they are by now; nothing is described after this. */
  protected settled(): Readonly<Attributes> {
    if (this.#describe) this.#set = { ...this.#describe(), ...this.#set }
    this.#describe = undefined
    return this.#set ?? {}
  }

  get reported(): Readonly<Attributes> {
    return this.#set ?? {}
  }

  /**
   * Lets go of everything but its identity, when it is exported or not wanted: a connection that is kept alive holds on to the
   * context of its last request, and by a span in there to all that the request had.
   */
  forget(): void {
    this.#describe = undefined
    this.#set = undefined
    this.#events = NO_EVENTS
    this.#links = NO_LINKS
  }

  finished(): FinishedSpan {
    const { home } = this.tree
    const parentSpanContext = this.#parent?.spanContext()
    const context = this.spanContext()
    return {
      name: this.name,
      kind: this.kind,
      spanContext: () => context,
      ...(parentSpanContext && { parentSpanContext }),
      startTime: this.#hrTime(this.#startedAt),
      endTime: this.#hrTime(this.#endedAt),
      duration: hrTimeOf(this.#endedAt - this.#startedAt),
      status: this.status,
      attributes: { ...this.#describe?.(), ...this.#set },
      events: this.#events.map(({ name, at, attributes }) => ({ name, time: this.#hrTime(at), ...(attributes && { attributes }) })),
      links: this.#links,
      resource: home.resource,
      instrumentationScope: home.scope,
      ended: true,
      droppedAttributesCount: Math.max(0, this.#setCount - home.limits.attributes),
      droppedEventsCount: this.#droppedEvents,
      droppedLinksCount: this.#droppedLinks,
    }
  }

  #hrTime(at: number): HrTime {
    return hrTimeOf(this.tree.clockOffset + at)
  }
}

/** Makes room for `item` when there are `most` already, the oldest first. @returns how many had to go */
function pushed<Item>(items: Item[], item: Item, most: number): 0 | 1 {
  items.push(item)
  if (items.length <= most) return 0
  items.shift()
  return 1
}

function isAttributes(value: unknown): value is Attributes {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
