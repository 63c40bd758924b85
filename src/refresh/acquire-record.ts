import type { Span } from '@opentelemetry/api'
import {
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_REASON,
  ATTR_REASON_DECLARED,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REJECTED_FINGERPRINT,
  SPAN_ACQUIRE,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { Decision, RefreshReason, TokenRequestOutcome } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { type GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { exemplarOf, failSpan, type Telemetry } from '../telemetry/telemetry.ts'
import type { RefreshRecord } from './refresh-record.ts'

export interface AcquireFacts {
  readonly provider: string
  readonly profileId: string
  readonly caller: CallerSite
  readonly reason: RefreshReason
  readonly rejected?: Fingerprint
  readonly held?: Fingerprint
  readonly declaredReason?: string
}

/** What telemetry keeps of one acquisition: a span from entering to leaving, a count, the wait. */
export class AcquireRecord {
  readonly span: Span
  readonly #telemetry: Telemetry
  readonly #facts: AcquireFacts
  readonly #profile: string
  readonly #enteredAt = performance.now()
  /** How the acquisition came aboard a refresh, if it did; a refresh that fails is no refusal of the gate. */
  joinedAs: 'lead' | 'join' | undefined

  constructor(telemetry: Telemetry, facts: AcquireFacts) {
    this.#telemetry = telemetry
    this.#facts = facts
    this.#profile = telemetry.profile(facts.profileId)
    this.span = telemetry.startSpan(SPAN_ACQUIRE, {
      // The words that every acquisition is counted by, kept or not.
      attributes: {
        [ATTR_REASON]: facts.reason,
        [ATTR_CALLER]: facts.caller.label,
        [ATTR_PROFILE]: this.#profile,
      },
      describe: () => ({
        [ATTR_PROVIDER]: facts.provider,
        ...(facts.rejected && { [ATTR_REJECTED_FINGERPRINT]: facts.rejected }),
        ...(facts.held && { [ATTR_REFRESH_FINGERPRINT_BEFORE]: facts.held }),
        ...(facts.declaredReason && { [ATTR_REASON_DECLARED]: facts.declaredReason }),
        ...callerAttributes(facts.caller),
      }),
    })
  }

  /** The acquisition leads or joins a refresh: each is linked to the other. */
  joins(record: RefreshRecord, as: 'lead' | 'join'): void {
    this.joinedAs = as
    record.joinedBy(this.span.spanContext())
    this.span.addLink({ context: record.span.spanContext() })
  }

  /** The acquisition leaves the gate. */
  left(decision: Decision, { outcome, error }: { outcome?: TokenRequestOutcome | undefined; error?: unknown } = {}): void {
    const { provider, reason, caller } = this.#facts
    const labels = { provider, profile: this.#profile, reason, decision, caller: caller.label }
    this.span.setAttribute(ATTR_DECISION, decision)
    const ended = outcome ?? (isGatewayError(error) ? error.outcome : undefined)
    if (ended) this.span.setAttribute(ATTR_OUTCOME, ended)
    if (error !== undefined) failSpan(this.span, error)
    this.#telemetry.instruments.add('acquisitions', labels)
    this.#telemetry.instruments.record('acquisitionWait', (performance.now() - this.#enteredAt) / 1000, labels, exemplarOf(this.span))
    this.span.end()
  }
}

/** Records an acquisition that was turned away at the door, before any profile was asked for. */
export function refuseAcquire(telemetry: Telemetry, facts: AcquireFacts, error: GatewayError): void {
  new AcquireRecord(telemetry, facts).left('refuse', { error })
}
