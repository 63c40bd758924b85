import type { Span } from '@opentelemetry/api'
import {
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_PROFILE,
  ATTR_SKIP_REASON,
  EVENT_FALLBACK,
  EVENT_SKIPPED,
} from '../../otel/names.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { FallbackStep, Served } from './call-request.ts'
import type { FallbackReason } from './fallback.ts'
import type { Candidate, Order } from './profile-order.ts'

/** The way of one call from its preferred profile to the one that serves, told to span, metric and caller alike. */
export class CallTrail {
  readonly #telemetry: Telemetry
  readonly #span: Span
  readonly #preferred: Candidate | undefined
  readonly #steps: FallbackStep[] = []
  /** Who was given up last, and why, until it is known who comes next. */
  #givenUp: { readonly candidate: Candidate; readonly reason: FallbackReason } | undefined
  #failures: string[] = []
  #answeredBy: Served | undefined
  attempts = 0
  /** How many calls the spans of this one stand for. */
  standsFor = 1

  constructor(telemetry: Telemetry, span: Span, { preferred, skipped }: Order) {
    this.#telemetry = telemetry
    this.#span = span
    this.#preferred = preferred
    for (const candidate of skipped) {
      // Who the operator left out was never meant to serve; it is no event of this call.
      if (candidate.reason === 'excluded_by_order') continue
      const profile = telemetry.profile(candidate.profile.id)
      span.addEvent(EVENT_SKIPPED, { [ATTR_PROFILE]: profile, [ATTR_SKIP_REASON]: candidate.reason })
      this.#failures.push(`${profile} (${candidate.reason})`)
      if (candidate.profile === preferred?.profile) this.#givenUp = { candidate, reason: candidate.reason }
    }
  }

  /** The profile was given up. */
  gaveUp(candidate: Candidate, reason: FallbackReason): void {
    this.#failures.push(`${this.#telemetry.profile(candidate.profile.id)} (${reason})`)
    this.#givenUp = { candidate, reason }
  }

  /** The next profile tries. */
  turnsTo(candidate: Candidate): void {
    if (!this.#givenUp) return
    const { candidate: former, reason } = this.#givenUp
    this.#givenUp = undefined
    const step: FallbackStep = {
      from: this.#telemetry.profile(former.profile.id),
      to: this.#telemetry.profile(candidate.profile.id),
      reason,
    }
    this.#steps.push(step)
    this.#span.addEvent(EVENT_FALLBACK, {
      [ATTR_FALLBACK_FROM]: step.from,
      [ATTR_FALLBACK_TO]: step.to,
      [ATTR_FALLBACK_REASON]: step.reason,
    })
    this.#telemetry.instruments.add('fallbacks', {
      provider: former.provider.id,
      from: step.from,
      to: step.to,
      reason,
    })
  }

  /** What is told to the caller when `candidate` serves with the next attempt. */
  servedBy(candidate: Candidate): Served {
    const preferredBilling = this.#preferred?.billing
    return {
      provider: candidate.provider.id,
      profile: this.#telemetry.profile(candidate.profile.id),
      billing: candidate.billing,
      attempts: this.attempts + 1,
      fallbacks: [...this.#steps],
      traceId: this.#span.spanContext().traceId,
      ...(preferredBilling && preferredBilling !== candidate.billing && { billingInsteadOf: preferredBilling }),
    }
  }

  /** The profile began to answer: from here on its bill runs, however the answer ends. */
  answered(served: Served): void {
    this.#answeredBy = served
    const [first] = served.fallbacks
    if (!served.billingInsteadOf || !first || !this.#preferred) return
    this.#telemetry.instruments.add('billingChanges', {
      provider: this.#preferred.provider.id,
      from: first.from,
      to: served.profile,
      reason: first.reason,
    })
  }

  /** Who answered the call; `undefined` while every profile refused it, or none was asked. */
  get answeredBy(): Served | undefined {
    return this.#answeredBy
  }

  /** The preferred profile's name; `undefined` where there is none for the call. */
  get preferred(): string | undefined {
    return this.#preferred && this.#telemetry.profile(this.#preferred.profile.id)
  }

  /** Every profile that did not serve, with its reason; fit for a message. */
  get failures(): string {
    return this.#failures.join(', ') || 'no profile is configured for it'
  }
}
