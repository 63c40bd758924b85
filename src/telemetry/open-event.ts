import { type Attributes, type Context, type Span, SpanStatusCode } from '@opentelemetry/api'
import { eventCaller } from '../callers/caller.ts'
import { type CallerSite, UNKNOWN_CALLER } from '../domain/caller-site.ts'
import type { EventFacts, EventKind, EventStep, GatewatchEvent, StepName } from '../domain/events.ts'
import { errorType } from '../domain/gateway-error.ts'
import { activeContext, runInContext } from './active-context.ts'
import { measureEvent, measureStep } from './event-metrics.ts'
import {
  attributesOfEvent,
  attributesOfFields,
  attributesOfStep,
  keptAttributes,
  SPAN_KINDS,
  STEP_EVENTS,
  spanKindOf,
  spanNameOf,
} from './event-span.ts'
import { contextWith, exemplarOf, type Telemetry } from './telemetry.ts'

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

/** Each call has some of these: their spans are described only where a caller wants them. */
const DESCRIBED_LATE: ReadonlySet<EventKind> = new Set(['inbound', 'call', 'attempt', 'acquire'])
/** Kinds whose name may be known only at the end. */
const NAMED_LATE: ReadonlySet<EventKind> = new Set(['inbound', 'token_request'])

/**
 * An event of this process while it is under way: its producer sets fields and steps, and ends it. The span of the event and
 * what is measured of it are written here, by the tables of `event-span.ts` and `event-metrics.ts`, and nowhere else.
 */
export class OpenEvent<K extends SpanEventKind = SpanEventKind> {
  readonly span: Span
  protected readonly telemetry: Telemetry
  readonly #caller: CallerSite | undefined
  readonly #startedAt = performance.now()
  readonly #isLate: boolean
  #isOver = false
  readonly #event: EventFacts & { durationMs: number }

  /** @param facts What is known by now; the object becomes the event. */
  constructor(telemetry: Telemetry, kind: K, facts: EventFields<K>, { caller, parent, onto }: OpenEventOptions = {}) {
    this.telemetry = telemetry
    this.#caller = caller
    this.#isLate = DESCRIBED_LATE.has(kind)
    this.#event = Object.assign(facts, { kind, caller: caller ?? UNKNOWN_CALLER, durationMs: 0 }) as unknown as EventFacts
    this.span = telemetry.startSpan(this.#name, {
      kind: SPAN_KINDS[spanKindOf(this.#event)],
      ...(parent && { parent }),
      onto,
      ...(this.#isLate
        ? { attributes: keptAttributes(this.#event), describe: () => this.#attributes() }
        : { attributes: this.#attributes() }),
    })
  }

  /** What is known of it from now on. */
  set(fields: EventFields<K>): void {
    this.#set(fields)
  }

  /** Something happens within it. */
  step(name: StepName, fields?: StepFields): void {
    this.span.addEvent(STEP_EVENTS[name], fields && attributesOfStep(fields))
    measureStep({ name, ...fields }, this.#event, this.telemetry.instruments, exemplarOf(this.span))
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
    // What is set here, and not only described where a caller asks, has the trace kept.
    if (this.#isLate) span.setAttributes(keptAttributes(this.#event))
    if (NAMED_LATE.has(this.#event.kind)) span.updateName(this.#name)
    if (this.#event.isError) span.setStatus({ code: SpanStatusCode.ERROR })
    measureEvent(this.#event, this.telemetry.instruments, exemplarOf(span))
    span.end(at)
  }

  /** What takes work to say, and is said only where a caller wants the span. */
  protected details(): EventFields<K> | undefined {
    return undefined
  }

  #set(fields: object): void {
    if (this.#isOver) return
    Object.assign(this.#event, fields)
    if (!this.#isLate) this.span.setAttributes(attributesOfFields(this.#event.kind, fields))
  }

  get #name(): string {
    return spanNameOf(this.#event) ?? this.#event.kind
  }

  #attributes(): Attributes {
    const event = { ...this.#event, ...this.details() } as EventFacts
    return this.#caller ? attributesOfEvent({ ...event, caller: eventCaller(this.#caller) }) : attributesOfFields(event.kind, event)
  }
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
