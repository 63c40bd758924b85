import type { AttributeValue } from '@opentelemetry/api'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_VIA,
  ATTRIBUTES,
} from '../../otel/semconv.ts'
import { READ_ATTRIBUTES, READ_EVENTS } from './read-by-rules.ts'

/** The process that recorded a span. */
export interface InputProcess {
  readonly pid: number
  readonly role: 'gateway' | 'cli' | 'probe' | 'child' | 'unknown'
  readonly title: string
  readonly host: string
}

/** A span as it comes from a recorder or a file; a recorder's row is one. Times are epoch ms. */
export interface PlainSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly startMs: number
  readonly durationMs: number
  readonly status: 'ok' | 'error' | 'unset'
  readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
  readonly events: readonly PlainEvent[]
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly process?: InputProcess
}

export interface PlainEvent {
  readonly name: string
  readonly atMs: number
  readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
}

/**
 * One recorded span as a rule sees it: times, links and the attributes that telemetry has a name for. Anything else is
 * refused, so that no rule can lean on what real telemetry would not carry.
 */
export class InputSpan {
  readonly #span: PlainSpan

  constructor(span: PlainSpan) {
    this.#span = span
  }

  get name(): string {
    return this.#span.name
  }
  get traceId(): string {
    return this.#span.traceId
  }
  get spanId(): string {
    return this.#span.spanId
  }
  get parentSpanId(): string | undefined {
    return this.#span.parentSpanId
  }
  get startMs(): number {
    return this.#span.startMs
  }
  get endMs(): number {
    return this.#span.startMs + this.#span.durationMs
  }
  get durationMs(): number {
    return this.#span.durationMs
  }
  get isError(): boolean {
    return this.#span.status === 'error'
  }
  /** A call or an attempt that went well: neither did it fail nor did its caller give it up. */
  get isServed(): boolean {
    return !this.isError && this.text(ATTR_ATTEMPT_OUTCOME) !== 'aborted'
  }
  get process(): InputProcess | undefined {
    return this.#span.process
  }
  /** Spans this one is linked to: a refresh to its acquisitions, an acquisition to its refresh. */
  get links(): readonly { readonly traceId: string; readonly spanId: string }[] {
    return this.#span.links
  }

  get provider(): string | undefined {
    return this.text(ATTR_PROVIDER)
  }
  get profile(): string | undefined {
    return this.text(ATTR_PROFILE)
  }
  get caller(): string {
    return this.text(ATTR_CALLER) ?? 'unknown'
  }
  /** `src/agent.ts:12`; `undefined` for a client of the gateway. */
  get place(): string | undefined {
    const file = this.text(ATTR_CODE_FILE)
    return file === undefined ? undefined : `${file}:${this.number(ATTR_CODE_LINE) ?? 0}`
  }
  get reason(): string | undefined {
    return this.text(ATTR_REASON)
  }
  get via(): string | undefined {
    return this.text(ATTR_VIA)
  }
  /** How a refresh ended. */
  get outcome(): string | undefined {
    return this.text(ATTR_OUTCOME)
  }
  get status(): number | undefined {
    return this.number(ATTR_HTTP_STATUS)
  }
  get providerCode(): string | undefined {
    return this.text(ATTR_PROVIDER_ERROR_CODE)
  }
  /** Fingerprint of the refresh token that was sent. */
  get sent(): string | undefined {
    return this.text(ATTR_REFRESH_FINGERPRINT_BEFORE)
  }
  /** Fingerprint of the refresh token that came back. */
  get received(): string | undefined {
    return this.text(ATTR_REFRESH_FINGERPRINT_AFTER)
  }

  /** A text attribute. @throws {RangeError} when telemetry has no such name. */
  text(name: string): string | undefined {
    const value = this.#read(name)
    return typeof value === 'string' ? value : undefined
  }

  /** A number attribute. @throws {RangeError} when telemetry has no such name. */
  number(name: string): number | undefined {
    const value = this.#read(name)
    return typeof value === 'number' ? value : undefined
  }

  /** A yes-or-no attribute; `undefined` where nothing was said. @throws {RangeError} when telemetry has no such name. */
  flag(name: string): boolean | undefined {
    const value = this.#read(name)
    return typeof value === 'boolean' ? value : undefined
  }

  /** Events of that name, as spans of their own right: same readers, no duration. */
  events(name: string): InputEvent[] {
    return eventsCalled(this.#span, name).map(event => new InputEvent(event))
  }

  hasEvent(name: string): boolean {
    return eventsCalled(this.#span, name).length > 0
  }

  #read(name: string): AttributeValue | undefined {
    return readKnown(this.#span.attributes, name)
  }
}

/** One event of a span as a rule sees it. */
export class InputEvent {
  readonly #event: PlainEvent

  constructor(event: PlainEvent) {
    this.#event = event
  }

  get atMs(): number {
    return this.#event.atMs
  }

  text(name: string): string | undefined {
    const value = readKnown(this.#event.attributes, name)
    return typeof value === 'string' ? value : undefined
  }

  number(name: string): number | undefined {
    const value = readKnown(this.#event.attributes, name)
    return typeof value === 'number' ? value : undefined
  }

  flag(name: string): boolean | undefined {
    const value = readKnown(this.#event.attributes, name)
    return typeof value === 'boolean' ? value : undefined
  }
}

function eventsCalled({ events }: PlainSpan, name: string): readonly PlainEvent[] {
  if (!READ_EVENTS.has(name)) throw new RangeError(`the event ${name} is not among READ_EVENTS`)
  return events.filter(event => event.name === name)
}

function readKnown(attributes: PlainSpan['attributes'], name: string): AttributeValue | undefined {
  if (!READ_ATTRIBUTES.has(name))
    throw new RangeError(`${name} is ${Object.hasOwn(ATTRIBUTES, name) ? 'not among READ_ATTRIBUTES' : 'no attribute of telemetry'}`)
  return attributes[name]
}
