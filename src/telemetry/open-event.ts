import { type Context, type Span, trace } from '@opentelemetry/api'
import { eventCaller } from '../callers/caller.ts'
import { type CallerSite, UNKNOWN_CALLER } from '../domain/caller-site.ts'
import type { EventFacts, EventKind, EventStep, GatewatchEvent, StepName } from '../domain/events.ts'
import { errorType } from '../domain/gateway-error.ts'
import { activeContext, runInContext } from './active-context.ts'
import { measureEvent, measureStep } from './event-metrics.ts'
import { SPAN_KINDS, spanKindOf, spanNameOf } from './event-span.ts'
import { HOSTED_SPAN } from './hosted-span.ts'
import { LightSpan, type SpanSubject } from './light-span.ts'
import { isNotable } from './tail-sampling.ts'
import { contextWith, exemplarOf, keepTrace, type Telemetry } from './telemetry.ts'

/** Kinds whose events have a span. */
type SpanEventKind = Exclude<EventKind, 'config'>
/** What the producer of an event says of it; the rest is known here. */
export type EventFields<K extends SpanEventKind> = Partial<
  Omit<EventFacts<Extract<GatewatchEvent, { kind: K }>>, 'kind' | 'caller' | 'durationMs'>
>
type StepFields = Omit<EventStep, 'name' | 'atMs'>

export interface OpenEventOptions {
  /** Who asked. @default no caller is recorded */
  readonly caller?: CallerSite
  /** Context its span is a child of. @default the active one */
  readonly parent?: Context
  /** A span of the host that stands for the same work. */
  readonly onto?: Span | undefined
}

/**
 * An event of this process while it is under way: its producer sets fields and steps, and ends it. What is measured of it is
 * written here, by `event-metrics.ts`, and nowhere else; the event itself goes on where its trace is kept (`EventOutlet`).
 */
export class OpenEvent<K extends SpanEventKind = SpanEventKind> implements SpanSubject {
  readonly span: Span
  protected readonly telemetry: Telemetry
  #caller: CallerSite
  readonly #startedAt = performance.now()
  #isOver = false
  readonly #event: EventFacts & { durationMs: number }

  /** @param facts What is known by now; the object becomes the event. */
  constructor(telemetry: Telemetry, kind: K, facts: EventFields<K>, { caller = UNKNOWN_CALLER, parent, onto }: OpenEventOptions = {}) {
    this.telemetry = telemetry
    this.#caller = caller
    this.#event = Object.assign(facts, { kind, caller, durationMs: 0 }) as unknown as EventFacts
    const name = spanNameOf(this.#event) ?? kind
    this.span = telemetry.startSpan(name, { kind: SPAN_KINDS[spanKindOf(this.#event)], subject: this, ...(parent && { parent }), onto })
  }

  /** What is known of it by now, without details and stack. */
  get facts(): EventFacts {
    return this.#event
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Everything that is known of it by now. */
  described(): EventFacts {
    return { ...this.#event, ...this.details(), caller: eventCaller(this.#caller) } as EventFacts
  }

  /** What is known of it from now on. */
  set(fields: EventFields<K>): void {
    this.#set(fields)
  }

  /** Who asked, where that is taken after the span has begun. */
  protected calledBy(caller: CallerSite): void {
    this.#caller = caller
    this.#set({ caller })
  }

  /** It turns out to be an event of that kind, as which it is measured and recorded. */
  protected becomes(kind: SpanEventKind): void {
    this.#set({ kind })
  }

  /** Something happens within it. */
  step(name: StepName, fields?: StepFields): void {
    const step = { name, ...fields }
    if (this.span instanceof LightSpan) this.span.addStep(step)
    measureStep(step, this.#event, this.telemetry.instruments, exemplarOf(this.span))
  }

  /** It failed with this error; what its caller gave up has not. */
  fail(error: unknown): void {
    if (!(error instanceof Error && error.name === 'AbortError')) this.#set({ errorType: errorType(error), isError: true })
  }

  /** @param at When it ended, as `performance.now` says it. @default now */
  end(fields?: EventFields<K>, at?: number): void {
    if (this.#isOver) return
    if (fields) this.#set(fields)
    this.#isOver = true
    const { span } = this
    this.#event.durationMs = (at ?? performance.now()) - this.#startedAt
    if (isNotable(this.#event)) keepTrace(span)
    measureEvent(this.#event, this.telemetry.instruments, exemplarOf(span))
    span.end(at)
  }

  /** What takes work to say, and is said only where a caller wants the span. */
  protected details(): EventFields<K> | undefined {
    return undefined
  }

  #set(fields: object): void {
    if (!this.#isOver) Object.assign(this.#event, fields)
  }
}

/** The innermost event of one of these kinds that is under way around the code that runs now. */
export function activeEvent<K extends SpanEventKind>(...kinds: readonly K[]): OpenEvent<K> | undefined {
  const context = activeContext()
  let span = context.getValue(HOSTED_SPAN) ?? trace.getSpan(context)
  for (; span instanceof LightSpan; span = span.around) {
    const { subject } = span
    if (subject instanceof OpenEvent && !subject.isOver && kinds.some(kind => kind === subject.facts.kind)) return subject
  }
  return undefined
}

/**
 * Runs `work` within an event and ends it. A rejection fails the event; an abort does not.
 *
 * @throws what `work` throws.
 */
export async function withinEvent<K extends SpanEventKind, T>(event: OpenEvent<K>, work: () => Promise<T>): Promise<T> {
  try {
    return await runInContext(contextWith(activeContext(), event.span), work)
  } catch (error) {
    event.fail(error)
    throw error
  } finally {
    event.end()
  }
}
