import { bearerFingerprint, isOAuth, type StoredProfile } from '../domain/credential.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Upstream } from '../providers/upstream.ts'
import type { AcquireRequest } from '../refresh/acquire.ts'
import { type EventFields, OpenEvent, withinEvent } from '../telemetry/open-event.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type AttemptEnd, makeAttempt } from './attempt.ts'
import { AttemptLog } from './attempt-log.ts'
import { type CallEnd, type CallRefusal, type CallRequest, type CallSink, hasCallerLeft, type Served } from './call-request.ts'
import { AFTER_ATTEMPT, type FallbackReason, reasonOfAcquire, reasonOfSkip } from './fallback.ts'
import { type Admittance, placeOf } from './last-resort.ts'
import type { ProfileFailure } from './next-step.ts'
import type { ProbeState } from './probe-state.ts'
import { hindranceOf, ProfileChoice, type ProfileChoiceOptions } from './profile-choice.ts'
import type { Candidate, Order } from './profile-order.ts'
import type { AttemptStart } from './rest-state.ts'
import { SampleWeights } from './sample-weights.ts'
import { TimeBudget } from './time-budget.ts'

interface ProviderCallsOptions extends ProfileChoiceOptions {
  telemetry: Telemetry
  probes: ProbeState
  upstream: Upstream
}

/** One call on its way: what it wants, where its answer goes, what it met so far. */
interface Call {
  readonly request: CallRequest
  readonly sink: CallSink
  readonly attemptLog: AttemptLog
  /** Everybody who could serve was resting. */
  readonly isLastResort: boolean
  readonly refusalTime: TimeBudget
  /** To wait for the attempts of other calls at profiles that rest. */
  readonly waitingTime: TimeBudget
  /** To wait for refreshes. */
  readonly visitingTime: TimeBudget
}

/** How one profile fared: it ended the call, or the next one may try. */
type Turn = { readonly end: CallEnd } | (Omit<ProfileFailure, 'type'> & { readonly refusal?: CallRefusal; readonly served?: Served })

/** One upstream request that was made, with what was known when it began. */
interface Attempted {
  readonly end: AttemptEnd
  readonly served: Served
  readonly profile: StoredProfile
  readonly start: AttemptStart
}

/** What the gate said when it refused an acquisition: what can be done, and when it tries again. */
type Refused = Pick<ProfileFailure, 'next' | 'waitMs'>
/** What came of the refresh of a rejected token. */
type Renewal = { readonly fresh: StoredProfile } | Refused

/** Longest time that a call reads the bodies of refusals, in ms: those that trickle in must hold neither the call nor its fallback. */
const READING_REFUSALS_MS = 3_000
/** Longest time that a call waits for the attempts of others, in ms: longer than a provider needs to refuse. */
const WAITING_FOR_OTHERS_MS = 10_000
/** Longest time that a call waits for refreshes, in ms, however many profiles need one; those go on without it. */
const WAITING_FOR_REFRESHES_MS = 60_000
/** How long a profile is left alone whose refresh is under way elsewhere, or failed without a pause. */
const SHORT_PAUSE_MS = 1_000

/** Makes provider calls: picks the profile, acquires a token at the gate, tries, falls back. */
export class ProviderCalls {
  readonly choice: ProfileChoice
  readonly #options: ProviderCallsOptions
  readonly #weights = new SampleWeights()

  constructor(options: ProviderCallsOptions) {
    this.#options = options
    this.choice = new ProfileChoice(options)
  }

  /**
   * Makes one call. The answer goes to `sink`; a call that no profile served leaves it untouched.
   *
   * @throws what the store throws when it cannot be read; every other end is a `CallEnd`.
   */
  call(given: CallRequest, sink: CallSink): Promise<CallEnd> {
    const request = { ...given, model: sanitizeName(given.model) }
    const { telemetry } = this.#options
    const record = new CallRecord(telemetry, request)
    return withinEvent(record, async () => {
      const order = await this.choice.orderFor(request)
      const call: Call = {
        request,
        sink,
        attemptLog: new AttemptLog(telemetry, record, order),
        isLastResort: order.isLastResort,
        refusalTime: new TimeBudget(READING_REFUSALS_MS),
        waitingTime: new TimeBudget(WAITING_FOR_OTHERS_MS),
        visitingTime: new TimeBudget(WAITING_FOR_REFRESHES_MS),
      }
      record.call = call
      const end = await this.#goThrough(call, order)
      const served = 'served' in end ? end.served : undefined
      record.ended(end, this.choice.providerOf(served?.provider ?? order.preferred?.provider.id ?? '')?.genaiName)
      return end
    })
  }

  async #goThrough(call: Call, { candidates, skipped, isLastResort }: Order): Promise<CallEnd> {
    const { request, attemptLog } = call
    const lastSkipped = skipped.at(-1)
    let reason: FallbackReason | undefined = lastSkipped && reasonOfSkip(lastSkipped)
    let last: { readonly refusal?: CallRefusal; readonly served?: Served } = {}
    let isTried = false
    for (const candidate of candidates) {
      // A caller that left while the last profile failed has not fallen back to the next one.
      if (request.signal?.aborted) return { type: 'aborted' }
      // A probe is asked for by itself, and rests nothing: it needs no pace.
      const turn = isLastResort && !request.probe ? await this.#lastResort(call, candidate) : await this.#turn(call, candidate)
      if (!turn) {
        reason = 'cooldown'
        continue
      }
      if ('end' in turn) return turn.end
      isTried = true
      attemptLog.gaveUp(candidate, turn)
      reason = turn.reason
      if (turn.refusal && turn.served) last = { refusal: turn.refusal, served: turn.served }
    }
    return { type: 'failed', error: this.#failureOf(call, isTried), traceId: attemptLog.traceId, ...(reason && { reason }), ...last }
  }

  /** A call that no profile served. @param isTried A profile was tried. */
  #failureOf({ request, attemptLog }: Call, isTried: boolean): GatewayError {
    const damaged = isTried ? undefined : this.#damagedFor(request)
    const wanted = request.model === '' ? request.protocol : `${request.protocol} of model ${request.model}`
    return damaged ?? attemptLog.failure(isTried ? 'GW_ALL_PROFILES_FAILED' : 'GW_NO_PROFILE', wanted)
  }

  /** What is wrong with the one profile that a call wants, or with any where it wants none in particular. */
  #damagedFor({ profile }: CallRequest): GatewayError | undefined {
    const { profiles, order } = this.#options
    return profiles.damaged.find(({ id }) => (profile === undefined ? (order?.includes(id) ?? true) : id === profile))?.error
  }

  /** Everything rests: one call at a time tries, at a pace; the others share what becomes of it. */
  async #enterLastResort({ request, attemptLog, waitingTime }: Call, candidate: Candidate): Promise<Admittance> {
    const { rests } = this.#options.profiles
    const { model, signal } = request
    const restOf = () => rests.restOf(candidate.profile, model)
    const { id } = candidate.profile
    const { lastResort } = this.choice
    const waited = waitingTime.begin()
    const place = await lastResort.enter(placeOf(id, restOf()), restOf, waitingTime.leftMs, signal)
    waited()
    const rest = place.attempt === 'none' ? restOf() : undefined
    if (rest)
      attemptLog.passedOver({ ...candidate, reason: 'cooldown', ...hindranceOf(rest, Date.now()), retryMs: lastResort.retryMsOf(id, rest) })
    else if (place.attempt === 'none') attemptLog.passedOver({ ...candidate, reason: 'cooldown' })
    return place
  }

  /** @returns `undefined` where it is not this call's turn at the profile. */
  async #lastResort(call: Call, candidate: Candidate): Promise<Turn | undefined> {
    const place = await this.#enterLastResort(call, candidate)
    if (place.attempt === 'aborted') return { end: { type: 'aborted' } }
    if (place.attempt === 'none') return undefined
    if (place.attempt !== 'paced') return this.#turn(call, candidate)
    try {
      return await this.#turn(call, candidate, place.leave)
    } finally {
      place.leave()
    }
  }

  #turn(call: Call, candidate: Candidate, onAccepted?: () => void): Promise<Turn> {
    call.attemptLog.turnsTo(candidate)
    return this.#try(call, candidate, onAccepted)
  }

  /** @param onAccepted Called when the provider begins a good answer. */
  async #try(call: Call, candidate: Candidate, onAccepted?: () => void): Promise<Turn> {
    const { profiles, probes } = this.#options
    const { probe = false } = call.request
    const { id } = candidate.profile
    let profile = await profiles.current(candidate.profile)
    const need = profiles.needs(profile)
    try {
      if (need) profile = (await this.#acquire(call, profile, { reason: need })).profile
    } catch (error) {
      if (isGatewayError(error, 'GW_ACQUIRE_ABORTED')) return { end: { type: 'aborted' } }
      if (!probe) probes.acquireFailed(profile, error)
      return { reason: reasonOfAcquire(error), ...this.#afterAcquire(profile, error) }
    }
    if (!probe) profiles.used(id)
    const first = await this.#attempt(call, candidate, profile, onAccepted)
    if (!wasRejected(first.end, profile)) return this.#judge(call, first)
    if (probe) {
      const fresh = await this.#newer(profile)
      return this.#judge(call, fresh ? await this.#attempt(call, candidate, fresh, onAccepted) : first)
    }
    const renewal = await this.#afterRejection(call, profile)
    if (call.request.signal?.aborted) return { end: { type: 'aborted' } }
    if ('fresh' in renewal) return this.#judge(call, await this.#attempt(call, candidate, renewal.fresh, onAccepted))
    return this.#judge(call, first, renewal)
  }

  /** What holds now, if it is another token than the one that was rejected: another caller refreshed during the probe. */
  async #newer(profile: StoredProfile): Promise<StoredProfile | undefined> {
    const current = await this.#options.profiles.current(profile)
    return bearerFingerprint(current.credential) === bearerFingerprint(profile.credential) ? undefined : current
  }

  /** The provider rejected the access token: one refresh by compare, and only if it brings another token. */
  async #afterRejection(call: Call, profile: StoredProfile): Promise<Renewal> {
    const rejected = bearerFingerprint(profile.credential)
    if (!rejected) return {}
    try {
      const acquireResult = await this.#acquire(call, profile, { reason: 'rejected', rejected })
      return bearerFingerprint(acquireResult.profile.credential) === rejected ? {} : { fresh: acquireResult.profile }
    } catch (error) {
      // The acquisition's span says why; the provider's refusal is what the caller has to see.
      return this.#afterAcquire(profile, error)
    }
  }

  /** Acquires a token at the gate for a call, in what time it has left for that. @throws as `RefreshGate.enter` */
  async #acquire(
    { request: { caller, signal }, visitingTime }: Call,
    { provider, id }: StoredProfile,
    why: Pick<AcquireRequest, 'reason' | 'rejected'>,
  ) {
    const visited = visitingTime.begin()
    try {
      const deadlineMs = visitingTime.leftMs
      return await this.#options.gate.acquire({ provider, profileId: id, caller, ...why, deadlineMs, ...(signal && { signal }) })
    } finally {
      visited()
    }
  }

  /** What can be done after an acquisition that the gate refused, and when the gate tries again. */
  #afterAcquire(profile: StoredProfile, error: unknown): Refused {
    if (!(error instanceof GatewayError)) return {}
    if (error.code === 'GW_NEEDS_LOGIN') return { next: error.next }
    return { next: error.next, waitMs: error.retryAfterMs ?? this.#options.gate.pauseOf(profile)?.waitMs ?? SHORT_PAUSE_MS }
  }

  async #attempt(call: Call, candidate: Candidate, profile: StoredProfile, onAccepted?: () => void): Promise<Attempted> {
    const { request, sink, attemptLog, refusalTime } = call
    const { telemetry, upstream, profiles } = this.#options
    const served = attemptLog.servedBy(candidate)
    const start = profiles.rests.begin()
    const end = await makeAttempt(telemetry, upstream, {
      request,
      candidate,
      profile,
      index: attemptLog.attempts,
      served,
      sink,
      weights: this.#weights,
      refusalTime,
      onAccepted: () => {
        profiles.rests.succeeded(profile, start, whatProves(request))
        onAccepted?.()
      },
    })
    attemptLog.attempts += 1
    attemptLog.weight = end.weight ?? 1
    if (end.begun) {
      attemptLog.answered(served)
      return { end, served, profile, start }
    }
    const { billingInsteadOf: _unpaid, ...tried } = served
    return { end, served: tried, profile, start }
  }

  /** @param renewal What became of the refresh after the token was rejected. */
  #judge({ request }: Call, attempted: Attempted, renewal: Refused = {}): Turn {
    const { end, served, profile } = attempted
    const { outcome, begun, refusal, judgement } = end
    if (!request.probe) this.#note(request, attempted, renewal.waitMs)
    if (outcome === 'ok') return { end: { type: 'served', served } }
    if (outcome === 'aborted') return { end: { type: 'aborted' } }
    if (begun) return { end: { type: 'broken_off', served } }
    const providerCode = judgement?.providerCode
    if (AFTER_ATTEMPT[outcome] === 'next') {
      const rest = this.#options.profiles.rests.restOf(profile, request.model)
      const waitMs = hindranceOf(rest, Date.now())?.waitMs
      const retryMs = rest && this.choice.lastResort.retryMsOf(profile.id, rest)
      return { reason: outcome, providerCode, waitMs, retryMs, ...renewal, ...(refusal && { refusal, served }) }
    }
    const error = new GatewayError('GW_BAD_REQUEST', `the provider could not read the request (${outcome})`, { next: 'fix_request' })
    return { end: { type: 'failed', error, traceId: served.traceId, reason: outcome, ...(refusal && { refusal, served }) } }
  }

  /** Notes how an attempt ended, for the calls that follow. */
  #note(request: CallRequest, { end: { outcome, judgement, refusal }, profile, start }: Attempted, pauseMs: number | undefined): void {
    const { profiles, probes } = this.#options
    probes.attempted(profile, outcome)
    if (outcome === 'ok') return
    const model = judgement?.scope === 'model' && request.model !== '' ? request.model : undefined
    profiles.rests.failed(profile, start, {
      outcome,
      // A token that was rejected and is not refreshed yet rests until the gate tries again, not by the ladder.
      retryAfterMs: pauseMs ?? judgement?.retryAfterMs,
      model,
      answer: { status: refusal?.status, type: judgement?.providerType, code: judgement?.providerCode },
    })
  }
}

/** The event of one call. */
class CallRecord extends OpenEvent<'call'> {
  readonly #request: CallRequest
  call: Call | undefined
  #end: CallEnd | undefined

  constructor(telemetry: Telemetry, request: CallRequest) {
    super(telemetry, 'call', { model: request.model, protocol: request.protocol }, { caller: request.caller })
    this.#request = request
  }

  ended(end: CallEnd, genaiProvider: string | undefined): void {
    this.#end = end
    const failure = failureOf(end, this.#request)
    const outcome = end.type === 'aborted' ? 'aborted' : undefined
    this.set({ outcome, genaiProvider, errorType: failure, isError: failure !== undefined })
  }

  protected override details(): EventFields<'call'> {
    const log = this.call?.attemptLog
    const answered = log?.answeredBy
    const served = answered ?? (this.#end && 'served' in this.#end ? this.#end.served : undefined)
    return {
      stream: this.#request.stream,
      attempts: this.#end && log?.attempts,
      standsFor: log?.weight ?? 1,
      preferredProfile: log?.preferred,
      lastResort: this.call?.isLastResort || undefined,
      provider: served?.provider,
      profile: served?.profile,
      billing: served?.billing,
      billingChanged: answered && answered.billingInsteadOf !== undefined,
    }
  }
}

/** A caller who leaves has not failed; a call that the gateway gives up although a caller waits for it has. */
function failureOf(end: CallEnd, request: CallRequest): string | undefined {
  if (end.type === 'failed') return end.error.code
  if (end.type === 'aborted') return hasCallerLeft(request) ? undefined : 'GW_CLOSED'
  return end.type === 'broken_off' ? end.type : undefined
}

/** What a good answer proves: a listing of models is not what limits are about. */
function whatProves({ protocol, model }: CallRequest): { readonly model: string } | 'credential' {
  return protocol === 'models' ? 'credential' : { model }
}

/** A 401 for an OAuth token that had not begun to answer: the one failure a refresh may mend. */
function wasRejected({ begun, refusal, outcome }: AttemptEnd, profile: StoredProfile): boolean {
  return !begun && refusal?.status === 401 && (outcome === 'auth' || outcome === 'auth_permanent') && isOAuth(profile.credential)
}
