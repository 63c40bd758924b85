import { mappedCaller } from '../callers/caller.ts'
import type { EventCaller, EventFacts, EventStep, GatewatchEvent } from '../domain/events.ts'
import { CALLER_ATTRIBUTES, FIELD_ATTRIBUTES, OUTCOME_ATTRIBUTES } from './event-span.ts'
import { AttributeRedactor } from './redaction-attributes.ts'

/** Fields whose values are ours: ids, times and words of closed lists. */
const OWN_FIELDS = {
  kind: true,
  startMs: true,
  durationMs: true,
  traceId: true,
  spanId: true,
  parentSpanId: true,
  links: true,
  isError: true,
  process: true,
  grant: true,
  operation: true,
  importCounts: true,
  importCountsByProvider: true,
  name: true,
  atMs: true,
}

/** What stands in the place of a value that may not be seen, where an event or a caller always has one. */
const UNKNOWN: Readonly<Record<string, unknown>> = { reason: 'unknown', label: 'unknown', kind: 'unknown', standsFor: 1 }

type Fields = Record<string, unknown>

/**
 * Decides what of an event may leave its producer, by the rules of the attributes that its fields are written as. What is stored,
 * exported or shown is made of its answer alone. Callers are shown by the sources, as far as those are known by now.
 */
export class EventRedactor {
  readonly #attributes: AttributeRedactor
  #refused = 0

  /** @param longest No text becomes longer than this. */
  constructor(options: { longest?: number } = {}) {
    this.#attributes = new AttributeRedactor(options)
  }

  /** The event as it may be seen, and how many values of it may not. */
  event<E extends GatewatchEvent>(event: E): { readonly event: E; readonly refused: number } {
    this.#refused = 0
    return { event: this.#event(event) as E, refused: this.#refused }
  }

  /** As `event`, of one that is under way. */
  facts<F extends EventFacts>(facts: F): F {
    return this.#event(facts) as F
  }

  /** As `event`, of a step. */
  step<S extends Partial<EventStep>>(step: S): S {
    return this.#fields(step) as S
  }

  #event(event: EventFacts | GatewatchEvent): Fields {
    const redacted = this.#fields(event)
    if ('outcome' in event && event.outcome !== undefined) this.#set(redacted, 'outcome', OUTCOME_ATTRIBUTES[event.kind], event.outcome)
    if ('steps' in event) redacted.steps = event.steps.map(step => this.#fields(step))
    return redacted
  }

  #fields(given: Partial<GatewatchEvent | EventStep>): Fields {
    const redacted: Fields = {}
    for (const field in given) {
      const value = (given as Fields)[field]
      if (value === undefined || field === 'outcome' || field === 'steps') continue
      if (field === 'caller') redacted.caller = this.#caller(value as EventCaller)
      else if (Object.hasOwn(OWN_FIELDS, field)) redacted[field] = value
      else this.#set(redacted, field, FIELD_ATTRIBUTES[field as keyof typeof FIELD_ATTRIBUTES], value)
    }
    return redacted
  }

  #caller(caller: EventCaller): Fields {
    const mapped = mappedCaller(caller)
    const redacted: Fields = {}
    for (const field in mapped) {
      const key = field as keyof EventCaller
      if (mapped[key] !== undefined) this.#set(redacted, key, CALLER_ATTRIBUTES[key], mapped[key])
    }
    return redacted
  }

  #set(redacted: Fields, field: string, attribute: string | undefined, value: unknown): void {
    const passed = attribute === undefined ? undefined : this.#attributes.value(attribute, value)
    if (passed === undefined) this.#refused += 1
    const shown = passed ?? UNKNOWN[field]
    if (shown !== undefined) redacted[field] = shown
  }
}
