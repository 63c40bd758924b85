import { GatewayError } from '../domain/gateway-error.ts'
import type { OpenEvent } from '../telemetry/open-event.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { FallbackStep, Served } from './call-request.ts'
import { type FallbackReason, reasonOfSkip } from './fallback.ts'
import { adviceOf, nextStepOf, type ProfileFailure, retryAfterOf } from './next-step.ts'
import type { Candidate, Order, Skipped } from './profile-order.ts'

/** Profiles that an error's message names. */
const MOST_NAMED = 12

/** The way of one call from its preferred profile to the one that serves, for span, metric and caller alike. */
export class AttemptLog {
  readonly #telemetry: Telemetry
  readonly #event: OpenEvent<'call'>
  readonly #preferred: Candidate | undefined
  readonly #steps: FallbackStep[] = []
  readonly #failures: (ProfileFailure & { readonly profile: string })[] = []
  /** Profiles that the operator's order leaves out. */
  readonly #excluded: readonly Candidate[]
  /** Who was given up last, and why, until it is known who comes next. */
  #givenUp: { readonly candidate: Candidate; readonly reason: FallbackReason } | undefined
  #answeredBy: Served | undefined
  attempts = 0
  /** How many calls the spans of this one stand for. */
  weight = 1

  constructor(telemetry: Telemetry, event: OpenEvent<'call'>, { preferred, skipped }: Order) {
    this.#telemetry = telemetry
    this.#event = event
    this.#preferred = preferred
    // Who the operator left out was never meant to serve; it is no event of this call.
    this.#excluded = skipped.filter(({ reason }) => reason === 'excluded_by_order')
    for (const one of skipped) if (one.reason !== 'excluded_by_order') this.passedOver(one)
  }

  get traceId(): string {
    return this.#event.span.spanContext().traceId
  }

  /** The profile was not tried. */
  passedOver(skipped: Skipped): void {
    const profile = this.#telemetry.profile(skipped.profile.id)
    this.#event.step('skipped', { profile, skipReason: skipped.reason })
    const { reason, because, providerCode, waitMs, retryMs } = skipped
    const isPreferred = skipped.profile.id === this.#preferred?.profile.id
    this.#failures.push({ profile, type: skipped.profile.credential.type, reason, because, providerCode, waitMs, retryMs, isPreferred })
    if (isPreferred) this.#givenUp = { candidate: skipped, reason: reasonOfSkip(skipped) }
  }

  /** The profile was tried, and given up. */
  gaveUp(candidate: Candidate, failure: Omit<ProfileFailure, 'type'>): void {
    const { id, credential } = candidate.profile
    const isPreferred = id === this.#preferred?.profile.id
    this.#failures.push({ profile: this.#telemetry.profile(id), type: credential.type, ...failure, isPreferred })
    this.#givenUp = { candidate, reason: failure.reason }
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
    const { from, to } = step
    this.#event.step('fallback', { provider: former.provider.id, fallbackFrom: from, fallbackTo: to, fallbackReason: reason })
  }

  /** What the caller gets when `candidate` serves with the next attempt. */
  servedBy(candidate: Candidate): Served {
    const preferredBilling = this.#preferred?.billing
    return {
      provider: candidate.provider.id,
      profile: this.#telemetry.profile(candidate.profile.id),
      billing: candidate.billing,
      attempts: this.attempts + 1,
      fallbacks: [...this.#steps],
      traceId: this.traceId,
      ...(preferredBilling && preferredBilling !== candidate.billing && { billingInsteadOf: preferredBilling }),
    }
  }

  /** The profile began to answer: from here on its bill runs, however the answer ends. */
  answered(served: Served): void {
    this.#answeredBy = served
    const [first] = served.fallbacks
    if (!served.billingInsteadOf || !first || !this.#preferred) return
    const move = { fallbackFrom: first.from, fallbackTo: served.profile, fallbackReason: first.reason }
    this.#event.step('billing_changed', { provider: this.#preferred.provider.id, ...move })
  }

  /** Who answered the call; `undefined` while every profile refused it, or none was asked. */
  get answeredBy(): Served | undefined {
    return this.#answeredBy
  }

  /** The preferred profile's name; `undefined` where there is none for the call. */
  get preferred(): string | undefined {
    return this.#preferred && this.#telemetry.profile(this.#preferred.profile.id)
  }

  /** Why no profile served, with what to do next and when another try makes sense. @param wanted What was asked for. */
  failure(code: 'GW_NO_PROFILE' | 'GW_ALL_PROFILES_FAILED', wanted: string): GatewayError {
    const failures = this.#failures.length > 0 ? this.#failures : this.#excluded.map(candidate => this.#leftOut(candidate))
    const named = failures.slice(0, MOST_NAMED).map(({ profile, ...failure }) => `${profile} ${inWords(failure)}`)
    const more = failures.length > MOST_NAMED ? `, and ${failures.length - MOST_NAMED} more` : ''
    const advice = adviceOf(failures)
    const retryAfterMs = retryAfterOf(failures)
    return new GatewayError(
      code,
      `no profile could serve ${wanted}: ${named.join(', ') || 'no profile is configured for it'}${more}${advice ? `. ${advice}` : ''}`,
      { next: nextStepOf(failures), ...(retryAfterMs !== undefined && { retryAfterMs }) },
    )
  }

  #leftOut({ profile: { id, credential } }: Candidate): ProfileFailure & { readonly profile: string } {
    return { profile: this.#telemetry.profile(id), type: credential.type, reason: 'excluded_by_order' }
  }
}

/** Why in a word, and for how long: `(cooldown after rate_limit) for 20 s`, `(unavailable) for 2 s`, `(needs_login)`. */
function inWords({ reason, because, waitMs }: ProfileFailure): string {
  const isPassing = reason === 'cooldown' || reason === 'refresh_paused'
  const word = reason === 'cooldown' && because ? `cooldown after ${because}` : reason === 'refresh_paused' ? (because ?? reason) : reason
  return `(${word})${isPassing && waitMs !== undefined ? ` for ${Math.ceil(waitMs / 1000)} s` : ''}`
}
