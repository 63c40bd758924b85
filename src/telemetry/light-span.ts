import { type Link, type Span, type SpanContext, type SpanKind, type TimeInput, TraceFlags } from '@opentelemetry/api'
import type { AcquireEvent, EventFacts, EventStep, GatewatchEvent } from '../domain/events.ts'
import { randomHex } from '../tools/random-hex.ts'
import type { SpanPlace } from './span-of-event.ts'
import type { EndedSpan, SpanTree } from './span-tree.ts'
import { isAlwaysKeptKind, isAlwaysKeptStep } from './tail-sampling.ts'

/** The event that a span is written from. */
export interface SpanSubject {
  /** What is known of it by now, without what takes work to say. */
  readonly facts: EventFacts
  /** Everything that is known of it by now. */
  described(): EventFacts
}

export interface LightSpanFacts {
  /** When it begins, by the monotonic clock, in ms. */
  readonly at: number
  readonly name: string
  readonly kind: SpanKind
  /** The span it is a child of: one of ours, or a valid one from elsewhere. */
  readonly parent: Pick<Span, 'spanContext'> | undefined
  readonly subject: SpanSubject
}

/** What is said of a step by its producer; the moment is known here. */
export type SpanStep = Omit<EventStep, 'atMs'>

/** @property at Moment of the monotonic clock, in ms. */
interface TimedStep {
  readonly step: SpanStep
  readonly at: number
}

/** From so long on a span is worth keeping for being slow, in ms. */
const SLOW_MS = 30_000

/** What is so of an event unless its producer says otherwise. */
const NOTHING_SAID: Pick<EventFacts, 'isError' | 'standsFor'> = { isError: false, standsFor: 1 }
const NO_STEPS: TimedStep[] = []
const NO_LINKS: Link[] = []

/**
 * The place of an event in its trace while it is under way, with what happens within it. It costs little until a caller wants it:
 * id and times are worked out when they are read, which for an ordinary span of a trace that is not kept is never.
 *
 * As a `Span` it says nothing of its own: what other code sets on it is not kept.
 */
export class LightSpan implements Span, EndedSpan {
  readonly kind: SpanKind
  readonly tree: SpanTree
  #ended = false
  #droppedSteps = 0
  #droppedLinks = 0
  readonly #parent: Pick<Span, 'spanContext'> | undefined
  readonly #startedAt: number
  #endedAt = 0
  #context: SpanContext | undefined
  #subject: SpanSubject | undefined
  #steps: TimedStep[] = NO_STEPS
  #links: Link[] = NO_LINKS

  constructor(tree: SpanTree, { at, kind, parent, subject }: LightSpanFacts) {
    this.#startedAt = at
    this.tree = tree
    this.kind = kind
    this.#parent = parent
    this.#subject = subject
    tree.began()
    if (isAlwaysKeptKind(subject.facts.kind)) tree.keep()
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

  /** Something happens within it. */
  addStep(step: SpanStep): void {
    if (this.#ended) return
    if (isAlwaysKeptStep(step.name)) this.tree.keep()
    if (this.#steps === NO_STEPS) this.#steps = []
    this.#droppedSteps += pushed(this.#steps, { step, at: performance.now() }, this.tree.home.limits.events)
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

  setAttribute(): this {
    return this
  }

  setAttributes(): this {
    return this
  }

  addEvent(): this {
    return this
  }

  setStatus(): this {
    return this
  }

  updateName(): this {
    return this
  }

  isRecording(): boolean {
    return !this.#ended
  }

  recordException(): void {
    // The text of an error may hold anything, and its type is a field of the event.
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

  /** The event it is written from, until `forget`. */
  get subject(): SpanSubject | undefined {
    return this.#subject
  }

  /** The span of ours that it is a child of, in the same process. */
  get around(): LightSpan | undefined {
    return this.#parent instanceof LightSpan ? this.#parent : undefined
  }

  /**
   * Lets go of everything but its identity, when it is exported or not wanted: a connection that is kept alive holds on to the
   * context of its last request, and by a span in there to all that the request had.
   */
  forget(): void {
    this.#subject = undefined
    this.#steps = NO_STEPS
    this.#links = NO_LINKS
  }

  get counted(): AcquireEvent | undefined {
    const facts = this.#subject?.facts
    if (facts?.kind !== 'acquire') return undefined
    const { provider, profile, reason, decision, caller } = facts
    const event = {
      kind: 'acquire',
      startMs: Date.now(),
      durationMs: 0,
      traceId: '',
      spanId: '',
      links: [],
      steps: [],
      ...NOTHING_SAID,
    } as const
    return { ...event, provider, profile, reason, decision, caller: { label: caller.label, kind: caller.kind } }
  }

  finished(): readonly [GatewatchEvent, SpanPlace] | undefined {
    if (!this.#subject) return undefined
    const { traceId, spanId, traceFlags } = this.spanContext()
    const parent = this.#parent?.spanContext()
    const offset = this.tree.clockOffset
    const event = {
      ...NOTHING_SAID,
      ...this.#subject.described(),
      startMs: offset + this.#startedAt,
      durationMs: this.#endedAt - this.#startedAt,
      traceId,
      spanId,
      parentSpanId: parent?.spanId,
      links: this.#links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
      steps: this.#steps.map(({ step, at }) => ({ ...step, atMs: offset + at })),
    }
    const place = { traceFlags, parent, droppedSteps: this.#droppedSteps, droppedLinks: this.#droppedLinks }
    return [event as GatewatchEvent, place]
  }
}

/** Makes room for `item` when there are `most` already, the oldest first. @returns how many had to go */
function pushed<Item>(items: Item[], item: Item, most: number): 0 | 1 {
  items.push(item)
  if (items.length <= most) return 0
  items.shift()
  return 1
}
