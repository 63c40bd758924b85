import type { HrTime, Link, SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { SCOPE } from '../../otel/semconv.ts'
import { type FinishedSpan, hrTimeOf, type ProcessResource, type SpanEvent } from '../telemetry/finished-span.ts'
import { randomHex } from '../tools/random-hex.ts'
import type { Observation } from './observation.ts'

/** Values of OpenTelemetry's enums: the API is not loaded for them. */
const KINDS: Readonly<Record<Observation['kind'], SpanKind>> = {
  internal: 0 satisfies SpanKind.INTERNAL,
  client: 2 satisfies SpanKind.CLIENT,
}
const UNSET: SpanStatusCode.UNSET = 0
const ERROR: SpanStatusCode.ERROR = 2
const SAMPLED = 1
const NO_RESOURCE = { attributes: {} } as ProcessResource

/**
 * What was observed, as a span that has ended: a child of the host's span, with the times of the observation.
 *
 * Made by hand: nothing of OpenTelemetry's is loaded or registered in a watched process for the recorder's sake.
 */
export class ObservedSpan implements FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly parentSpanContext?: SpanContext
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended = true
  readonly status: FinishedSpan['status']
  readonly attributes: FinishedSpan['attributes']
  readonly links: Link[] = []
  readonly events: SpanEvent[]
  readonly instrumentationScope = { name: SCOPE }
  readonly droppedAttributesCount = 0
  readonly droppedEventsCount = 0
  readonly droppedLinksCount = 0
  /** Set by whoever exports it. */
  resource: ProcessResource = NO_RESOURCE
  #traceId: string
  #spanId = randomHex(8)
  #flags: number

  constructor({ name, kind, startMs, durationMs, parent, attributes, events, isError }: Observation) {
    this.name = name
    this.kind = KINDS[kind]
    if (parent) this.parentSpanContext = { ...parent }
    this.#traceId = parent?.traceId ?? randomHex(16)
    this.#flags = parent?.traceFlags ?? SAMPLED
    this.startTime = hrTimeOf(startMs)
    this.endTime = hrTimeOf(startMs + durationMs)
    this.duration = hrTimeOf(durationMs)
    this.status = { code: isError ? ERROR : UNSET }
    this.attributes = attributes
    this.events = events.map(({ name, atMs, attributes }) => ({ name, time: hrTimeOf(atMs), ...(attributes && { attributes }) }))
  }

  spanContext(): SpanContext {
    return { traceId: this.#traceId, spanId: this.#spanId, traceFlags: this.#flags }
  }

  /** It is that span of the host. */
  identify({ traceId, spanId, traceFlags }: SpanContext): void {
    this.#traceId = traceId
    this.#spanId = spanId
    this.#flags = traceFlags
  }

  /** What the sampler decided. */
  sample(isSampled: boolean): void {
    this.#flags = isSampled ? this.#flags | SAMPLED : this.#flags & ~SAMPLED
  }
}
