import type { AcquireEvent, GatewatchEvent } from '../domain/events.ts'
import { randomHex } from '../tools/random-hex.ts'
import type { EventOutlet } from './event-outlet.ts'
import type { SpanPlace } from './span-of-event.ts'

/** Limits of the OpenTelemetry specification, as far as the fields of events do not bound them. */
export interface LightSpanLimits {
  readonly events: number
  readonly links: number
}

/** Unless the environment says otherwise. A refresh may be linked to hundreds of acquisitions; the SDK's 128 would lose the first ones. */
export const SPAN_LIMITS: LightSpanLimits = { events: 256, links: 1024 }

/** What all spans of one tracer have in common. */
export interface SpanHome {
  readonly limits: LightSpanLimits
  /** Whether a trace in which something happened is exported although it was not sampled. */
  readonly keepsNotable: boolean
  readonly outlet: Pick<EventOutlet, 'onEnd' | 'onCounted'>
}

/** A span of the tree, when it has ended. */
export interface EndedSpan {
  /** The event of an acquisition, short. */
  readonly counted: AcquireEvent | undefined
  /** The event in the form that is kept. */
  finished(): readonly [GatewatchEvent, SpanPlace] | undefined
  /** Lets go of everything but its identity. */
  forget(): void
}

/** What was decided about a trace when it began here. */
export interface TraceChoice {
  /** It is exported, whatever happens in it. */
  readonly isSampled: boolean
  /** It is recorded, whatever happens in it. */
  readonly isRecorded: boolean
}

/** Spans that wait at most until it is known whether their trace is wanted. */
const MOST_WAITING = 64
const NONE: EndedSpan[] = []

/**
 * The spans of one trace that are made in this process, from the first one that begins to the last one that ends.
 *
 * An ordinary trace that was not sampled when it began leaves nothing behind. When something happens in it (an error, a
 * refresh, a bypass, a fallback, a call that is slow or was given up), everything of it is kept: what has ended waits here.
 */
export class SpanTree {
  readonly home: SpanHome
  isExported = false
  #traceId: string | undefined
  #isRecorded = false
  #isEventful = false
  /** What ends goes on at once: the trace is wanted. */
  #isWanted = false
  #open = 0
  #waiting = NONE
  #clockOffset: number | undefined

  /** @param traceId Of a trace that another caller has begun. */
  constructor(home: SpanHome, traceId: string | undefined) {
    this.home = home
    this.#traceId = traceId
  }

  /** Drawn when a caller asks: an ordinary trace that no caller asks for has no need of one. */
  get traceId(): string {
    this.#traceId ??= randomHex(16)
    return this.#traceId
  }

  /** What was decided, before the first span begins. */
  choose({ isSampled, isRecorded }: TraceChoice): void {
    this.isExported = isSampled
    this.#isRecorded = isRecorded
    this.#isWanted = isSampled
  }

  /** Milliseconds from the monotonic clock to the epoch: the spans of a trace must not jump with the wall clock. */
  get clockOffset(): number {
    this.#clockOffset ??= Date.now() - performance.now()
    return this.#clockOffset
  }

  began(): void {
    this.#open += 1
  }

  /**
   * What becomes of the trace, as far as is known by now: it is kept for what happened in it, it was chosen to stand for
   * others, or it is one of those others.
   */
  get standing(): 'eventful' | 'chosen' | 'passed_over' {
    if (this.#isEventful) return 'eventful'
    return this.#isWanted || this.#isRecorded ? 'chosen' : 'passed_over'
  }

  /** Something happened that an operator will look for. */
  keep(): void {
    this.#isEventful = true
    if (this.#isWanted) return
    this.#isWanted = true
    if (this.home.keepsNotable) this.isExported = true
    this.#release()
  }

  ended(span: EndedSpan): void {
    this.#open -= 1
    if (this.#isWanted) {
      this.#report(span)
      return
    }
    if (this.#open === 0 && this.#waiting.length === 0) {
      this.#settleOne(span)
      return
    }
    if (this.#waiting === NONE) this.#waiting = []
    this.#waiting.push(span)
    // Under a span that stays open for hours, what waits must not grow for hours.
    if (this.#open === 0 || this.#waiting.length >= MOST_WAITING) this.#settle()
  }

  #settle(): void {
    const waiting = this.#waiting
    this.#waiting = NONE
    for (const span of waiting) this.#settleOne(span)
  }

  #settleOne(span: EndedSpan): void {
    if (this.#isRecorded) this.#report(span)
    else this.#forget(span)
  }

  #release(): void {
    const waiting = this.#waiting
    this.#waiting = NONE
    for (const span of waiting) this.#report(span)
  }

  #forget(span: EndedSpan): void {
    const { counted } = span
    if (counted) this.home.outlet.onCounted(counted)
    span.forget()
  }

  #report(span: EndedSpan): void {
    const finished = span.finished()
    if (finished) this.home.outlet.onEnd(...finished)
    span.forget()
  }
}
