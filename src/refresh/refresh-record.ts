import { type Attributes, type Span, type SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import {
  ATTR_ACQUISITIONS,
  ATTR_ERROR_TYPE,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_VIA,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { RefreshReason, TokenRequestOutcome } from '../domain/enums.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'
import type { SentShape } from '../token-requests/sent-shape.ts'

export interface RefreshRecordFacts {
  readonly provider: string
  readonly profileId: string
  /** Caller and reason of the acquisition that leads. */
  readonly caller: CallerSite
  readonly reason: RefreshReason
  /** The span of that acquisition. */
  readonly primary: Span
}

/**
 * What telemetry keeps of one refresh: a child of the acquisition that leads, which may end before it does, linked to all of
 * its acquisitions, with an event for each step. The last event seen is where a refresh stopped.
 */
export class RefreshRecord {
  readonly span: Span
  readonly #telemetry: Telemetry
  readonly #facts: RefreshRecordFacts
  readonly #startedAt = performance.now()
  #acquisitions = 0

  constructor(telemetry: Telemetry, facts: RefreshRecordFacts) {
    this.#telemetry = telemetry
    this.#facts = facts
    this.span = telemetry.startSpan(SPAN_REFRESH, {
      kind: SpanKind.CLIENT,
      parent: contextOf(facts.primary),
      attributes: {
        [ATTR_PROVIDER]: facts.provider,
        [ATTR_PROFILE]: this.profile,
        [ATTR_REASON]: facts.reason,
        [ATTR_VIA]: 'gate',
        ...callerAttributes(facts.caller),
      },
    })
  }

  /** The profile's name as telemetry may show it. */
  get profile(): string {
    return this.#telemetry.profile(this.#facts.profileId)
  }

  /** Links the refresh to an acquisition that leads or joins it. */
  joinedBy(acquisition: SpanContext): void {
    this.#acquisitions += 1
    this.span.addLink({ context: acquisition })
  }

  event(name: string, attributes: Attributes = {}): void {
    this.span.addEvent(name, attributes)
  }

  /** What the token request looks like, a moment before it leaves. */
  looksLike({ encoding, fields }: SentShape): void {
    this.span.setAttributes({ [ATTR_REQUEST_ENCODING]: encoding, [ATTR_REQUEST_FIELDS]: fields })
  }

  /** The lease was asked for `waitedMs` ago and is held now. */
  leaseHeld(waitedMs: number): void {
    this.#telemetry.instruments.record('leaseWait', waitedMs / 1000, this.#labels(), this.span.spanContext())
  }

  leaseLost(): void {
    this.#telemetry.instruments.add('leasesLost', this.#labels())
  }

  /** The token request goes out while the access token is `ageMs` old. */
  tokenAge(ageMs: number): void {
    this.#telemetry.instruments.record('tokenAge', ageMs / 1000, { ...this.#labels(), reason: this.#facts.reason }, this.span.spanContext())
  }

  replayed(): void {
    this.#telemetry.instruments.add('replays', { ...this.#labels(), caller: this.#facts.caller.label })
  }

  storeFailed(operation: 'read' | 'write' | 'lease', errorType: string): void {
    this.#telemetry.instruments.add('storeErrors', { operation, [ATTR_ERROR_TYPE]: errorType })
  }

  ended(outcome: TokenRequestOutcome, errorType?: string): void {
    const failed = !isSuccess(outcome)
    this.span.setAttributes({ [ATTR_OUTCOME]: outcome, [ATTR_ACQUISITIONS]: this.#acquisitions })
    if (failed) {
      this.span.setAttributes({ [ATTR_PERMANENT]: isPermanent(outcome), [ATTR_ERROR_TYPE]: errorType ?? outcome })
      this.span.setStatus({ code: SpanStatusCode.ERROR })
    }
    const { reason, caller } = this.#facts
    this.#telemetry.instruments.record(
      'refreshDuration',
      (performance.now() - this.#startedAt) / 1000,
      { ...this.#labels(), reason, outcome, via: 'gate', caller: caller.label, ...(failed && { [ATTR_ERROR_TYPE]: errorType ?? outcome }) },
      this.span.spanContext(),
    )
    this.span.end()
  }

  #labels(): { provider: string; profile: string } {
    return { provider: this.#facts.provider, profile: this.profile }
  }
}
