import { type Attributes, type Span, SpanStatusCode } from '@opentelemetry/api'
import {
  GENAI_OPERATION_NAME,
  GENAI_OPERATIONS,
  GENAI_PROVIDER_NAME,
  GENAI_REQUEST_MODEL,
  GENAI_REQUEST_STREAM,
} from '../../otel/genai-semconv.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_ATTEMPTS,
  ATTR_BILLING,
  ATTR_BILLING_CHANGED,
  ATTR_ERROR_TYPE,
  ATTR_LAST_RESORT,
  ATTR_PREFERRED_PROFILE,
  ATTR_PROFILE,
  ATTR_PROTOCOL,
  ATTR_PROVIDER,
  ATTR_STANDS_FOR,
  SPAN_CALL,
} from '../../otel/names.ts'
import type { RefreshGate } from '../auth/refresh-gate.ts'
import { bearerFingerprint, isOAuth, type StoredProfile } from '../domain/credential.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Provider } from '../providers/provider.ts'
import type { Registry } from '../providers/registry.ts'
import type { Upstream } from '../providers/upstream.ts'
import { callerAttributes } from '../telemetry/caller.ts'
import { givenName } from '../telemetry/given-name.ts'
import { exemplarOf, type Telemetry } from '../telemetry/telemetry.ts'
import { type AttemptEnd, makeAttempt } from './attempt.ts'
import type { CallEnd, CallRequest, CallSink, Refusal, Served } from './call-request.ts'
import { CallTrail } from './call-trail.ts'
import { AFTER_ATTEMPT, type FallbackReason, reasonOfVisit } from './fallback.ts'
import { adviceFor, nextStepFor } from './next-step.ts'
import { OrdinaryCalls } from './ordinary-calls.ts'
import type { ProbeBook } from './probe-book.ts'
import type { ProfileBook } from './profile-book.ts'
import { type Candidate, type Order, orderProfiles } from './profile-order.ts'

export interface ProviderCallsOptions {
  telemetry: Telemetry
  gate: RefreshGate
  book: ProfileBook
  probes: ProbeBook
  registry: Registry
  upstream: Upstream
  /** Profile ids in the operator's order. */
  order?: readonly string[]
  /** Whether a subscription's call may go on to a metered profile. */
  metered: 'allow' | 'deny'
}

/** One call on its way: what it wants, where its answer goes, what it met so far. */
interface Call {
  readonly request: CallRequest
  readonly sink: CallSink
  readonly trail: CallTrail
  /** Everybody who could serve was resting. */
  readonly isLastResort: boolean
}

/** How one profile fared: it ended the call, or the next one may try. */
type Turn = { readonly end: CallEnd } | { readonly reason: FallbackReason; readonly refusal?: Refusal; readonly served?: Served }

/** Makes provider calls: picks the profile, visits the gate, tries, falls back. */
export class ProviderCalls {
  readonly #options: ProviderCallsOptions
  readonly #providers: ReadonlyMap<string, Provider>
  readonly #ordinary = new OrdinaryCalls()

  constructor(options: ProviderCallsOptions) {
    this.#options = options
    this.#providers = new Map(options.registry.all().map(provider => [provider.id, provider]))
  }

  /**
   * Makes one call. The answer goes to `sink`; a call that no profile served leaves it untouched.
   *
   * @throws what the store throws when it cannot be read; every other end is a `CallEnd`.
   */
  call(given: CallRequest, sink: CallSink): Promise<CallEnd> {
    const request = { ...given, model: givenName(given.model) }
    const { telemetry } = this.#options
    const startedAt = performance.now()
    let call: Call | undefined
    let end: CallEnd | undefined
    return telemetry.inSpan(SPAN_CALL, { describe: () => describeCall(request, call, end) }, async span => {
      const order = await this.#order(request)
      call = { request, sink, trail: new CallTrail(telemetry, span, order), isLastResort: order.isLastResort }
      end = await this.#goThrough(call, order)
      this.#noteEnd(span, call, end, order, (performance.now() - startedAt) / 1000)
      return end
    })
  }

  async #order({ protocol, provider, profile, speaking }: CallRequest): Promise<Order> {
    const { book, order, metered } = this.#options
    return orderProfiles({
      profiles: await book.list(),
      providerOf: id => this.#providers.get(id),
      protocol,
      metered,
      now: Date.now(),
      isResting: id => book.isResting(id),
      isDead: candidate => book.isDead(candidate),
      lastUsed: id => book.lastUsed(id),
      ...(order && { order }),
      ...(provider !== undefined && { provider }),
      ...(profile !== undefined && { profile }),
      ...(speaking && { speaking }),
    })
  }

  async #goThrough(call: Call, { candidates, skipped, preferred }: Order): Promise<CallEnd> {
    const { request, trail } = call
    let reason: FallbackReason | undefined = skipped.at(-1)?.reason
    let meant: FallbackReason | undefined = skipped.find(({ profile }) => profile === preferred?.profile)?.reason
    let last: { readonly refusal?: Refusal; readonly served?: Served } = {}
    for (const candidate of candidates) {
      // A caller who left while the last profile failed has not fallen back to the next one.
      if (request.signal?.aborted) return { type: 'aborted' }
      trail.turnsTo(candidate)
      const turn = await this.#try(call, candidate)
      if ('end' in turn) return turn.end
      trail.gaveUp(candidate, turn.reason)
      reason = turn.reason
      meant ??= turn.reason
      if (turn.refusal && turn.served) last = { refusal: turn.refusal, served: turn.served }
    }
    const code = candidates.length === 0 ? 'GW_NO_PROFILE' : 'GW_ALL_PROFILES_FAILED'
    const wanted = request.model === '' ? request.protocol : `${request.protocol} of model ${request.model}`
    const next = nextStepFor(meant)
    const error = new GatewayError(code, `no profile could serve ${wanted}: ${trail.failures}${adviceFor(next)}`, { next })
    return { type: 'failed', error, ...(reason && { reason }), ...last }
  }

  async #try(call: Call, candidate: Candidate): Promise<Turn> {
    const { gate, book, probes } = this.#options
    const { caller, signal, probe = false } = call.request
    const { id, provider } = candidate.profile
    let profile = await book.current(candidate.profile)
    const need = gate.needs(profile)
    try {
      if (need) profile = (await gate.enter({ provider, profileId: id, caller, reason: need, ...(signal && { signal }) })).profile
    } catch (error) {
      if (isGatewayError(error, 'GW_VISIT_ABORTED')) return { end: { type: 'aborted' } }
      if (!probe) probes.visitFailed(id, error)
      return { reason: reasonOfVisit(error) }
    }
    if (!probe) book.used(id)
    const first = await this.#attempt(call, candidate, profile)
    if (!wasRejected(first.end, profile)) return this.#judge(call, candidate, first)
    const fresh = probe ? await this.#newer(profile) : await this.#afterRejection(call, profile)
    if (call.request.signal?.aborted) return { end: { type: 'aborted' } }
    if (!fresh) return this.#judge(call, candidate, first)
    return this.#judge(call, candidate, await this.#attempt(call, candidate, fresh))
  }

  /** What holds now, if it is another token than the one that was rejected: somebody refreshed while the probe was on its way. */
  async #newer(profile: StoredProfile): Promise<StoredProfile | undefined> {
    const current = await this.#options.book.current(profile)
    return bearerFingerprint(current.credential) === bearerFingerprint(profile.credential) ? undefined : current
  }

  /** The provider rejected the access token: one refresh by compare, and only if it brings another token. */
  async #afterRejection({ request: { caller, signal } }: Call, profile: StoredProfile): Promise<StoredProfile | undefined> {
    const rejected = bearerFingerprint(profile.credential)
    if (!rejected) return undefined
    try {
      const visit = {
        provider: profile.provider,
        profileId: profile.id,
        caller,
        reason: 'rejected' as const,
        rejected,
        ...(signal && { signal }),
      }
      const admission = await this.#options.gate.enter(visit)
      return bearerFingerprint(admission.profile.credential) === rejected ? undefined : admission.profile
    } catch {
      // The visit's span says why; the provider's refusal is what the caller has to hear.
      return undefined
    }
  }

  async #attempt(
    { request, sink, trail }: Call,
    candidate: Candidate,
    profile: StoredProfile,
  ): Promise<{ end: AttemptEnd; served: Served }> {
    const { telemetry, upstream } = this.#options
    const served = trail.servedBy(candidate)
    const end = await makeAttempt(telemetry, upstream, {
      request,
      candidate,
      profile,
      index: trail.attempts,
      served,
      sink,
      ordinary: this.#ordinary,
    })
    trail.attempts += 1
    trail.standsFor = end.standsFor ?? 1
    if (end.begun) {
      trail.answered(served)
      return { end, served }
    }
    const { billingInsteadOf: _unpaid, ...tried } = served
    return { end, served: tried }
  }

  #judge({ request }: Call, { profile }: Candidate, { end, served }: { end: AttemptEnd; served: Served }): Turn {
    const { outcome, begun, retryAfterMs, refusal } = end
    const { book, probes } = this.#options
    if (!request.probe) {
      book.ended(profile.id, outcome, retryAfterMs)
      probes.attempted(profile.id, outcome)
    }
    if (outcome === 'ok') return { end: { type: 'served', served } }
    if (outcome === 'aborted') return { end: { type: 'aborted' } }
    if (begun) return { end: { type: 'broken_off', served } }
    if (AFTER_ATTEMPT[outcome] === 'next') return { reason: outcome, ...(refusal && { refusal, served }) }
    const error = new GatewayError('GW_BAD_REQUEST', `the provider could not read the request (${outcome})`, { next: 'fix_request' })
    return { end: { type: 'failed', error, reason: outcome, ...(refusal && { refusal, served }) } }
  }

  #noteEnd(span: Span, { request }: Call, end: CallEnd, { preferred }: Order, seconds: number): void {
    const served = 'served' in end ? end.served : undefined
    const failure = failureOf(end, request)
    if (end.type === 'aborted') span.setAttribute(ATTR_ATTEMPT_OUTCOME, 'aborted')
    if (failure) span.setStatus({ code: SpanStatusCode.ERROR })
    const providerId = served?.provider ?? preferred?.provider.id
    this.#options.telemetry.instruments.record(
      'genaiDuration',
      seconds,
      {
        [GENAI_OPERATION_NAME]: GENAI_OPERATIONS[request.protocol],
        [GENAI_PROVIDER_NAME]: this.#providers.get(providerId ?? '')?.genaiName ?? 'unknown',
        [GENAI_REQUEST_MODEL]: request.model,
        [ATTR_ERROR_TYPE]: failure,
      },
      exemplarOf(span),
    )
  }
}

/** What the span of a call says, once somebody wants to know. */
function describeCall(request: CallRequest, call: Call | undefined, end: CallEnd | undefined): Attributes {
  const answered = call?.trail.answeredBy
  const served = answered ?? (end && 'served' in end ? end.served : undefined)
  const failure = end && failureOf(end, request)
  const preferred = call?.trail.preferred
  return {
    [GENAI_REQUEST_MODEL]: request.model,
    [GENAI_REQUEST_STREAM]: request.stream,
    [ATTR_PROTOCOL]: request.protocol,
    ...callerAttributes(request.caller),
    ...(call && end && { [ATTR_ATTEMPTS]: call.trail.attempts }),
    ...(call && call.trail.standsFor > 1 && { [ATTR_STANDS_FOR]: call.trail.standsFor }),
    ...(preferred !== undefined && { [ATTR_PREFERRED_PROFILE]: preferred }),
    ...(call?.isLastResort && { [ATTR_LAST_RESORT]: true }),
    ...(served && {
      [ATTR_PROVIDER]: served.provider,
      [ATTR_PROFILE]: served.profile,
      [ATTR_BILLING]: served.billing,
    }),
    ...(answered && { [ATTR_BILLING_CHANGED]: answered.billingInsteadOf !== undefined }),
    ...(failure && { [ATTR_ERROR_TYPE]: failure }),
  }
}

/** A caller who leaves has not failed; a call that the gateway gives up although somebody waits for it has. */
function failureOf(end: CallEnd, { signal }: CallRequest): string | undefined {
  if (end.type === 'failed') return end.error.code
  if (end.type === 'aborted') return signal?.aborted ? undefined : 'GW_CLOSED'
  return end.type === 'broken_off' ? end.type : undefined
}

/** A 401 for an OAuth token that had not begun to answer: the one failure a refresh may mend. */
function wasRejected({ begun, refusal, outcome }: AttemptEnd, profile: StoredProfile): boolean {
  return !begun && refusal?.status === 401 && (outcome === 'auth' || outcome === 'auth_permanent') && isOAuth(profile.credential)
}
