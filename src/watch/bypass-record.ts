import { type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_SERVER_ADDRESS,
  ATTR_UNCERTAINTY,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_REPLAY,
  SPAN_EXCHANGE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { BypassPolicy, TokenRequestOutcome, Uncertainty, Via } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'
import { bypassError } from '../http-clients/client-adapter.ts'
import type { OutgoingEnd } from '../http-clients/node-response.ts'
import type { Provider } from '../providers/provider.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { BLOCKED, judgeTokenAnswer, type TokenVerdict } from '../token-requests/judge.ts'
import { type AskedGrant, summarizeRequest } from '../token-requests/request-summary.ts'

/** What is known of a refresh token that was seen going out. */
export interface SeenToken {
  readonly profileId: string
  /** It had been rotated away: sending it is a replay. */
  readonly rotatedAway: boolean
}

export interface BypassFacts {
  readonly providerId: string
  readonly url: URL
  readonly caller: CallerSite
  readonly policy: BypassPolicy
  readonly judge: Provider['judgeRefresh']
  readonly lineageOf: (refresh: Fingerprint) => SeenToken | undefined
}

/** What telemetry keeps of one token request that did not come through the gate. */
export class BypassRecord {
  readonly #telemetry: Telemetry
  readonly #facts: BypassFacts
  readonly #span: Span
  readonly #startedAt = performance.now()
  /** The profile's name for labels, once the token that is sent shows it. */
  #profile = 'unknown'
  #isReplay = false
  /** What it asks for; `unknown` until its body is. */
  #grant: AskedGrant = 'unknown'
  #sent: Fingerprint | undefined
  #isRefused = false
  #isOver = false

  constructor(telemetry: Telemetry, facts: BypassFacts) {
    const { providerId, url, caller } = facts
    this.#telemetry = telemetry
    this.#facts = facts
    this.#span = telemetry.startSpan(SPAN_REFRESH, {
      kind: SpanKind.CLIENT,
      attributes: {
        [ATTR_PROVIDER]: providerId,
        [ATTR_REASON]: 'unknown',
        [ATTR_SERVER_ADDRESS]: url.hostname,
        [ATTR_URL_PATH]: url.pathname,
        ...callerAttributes(caller),
      },
    })
  }

  /** The request's body is known. */
  body(body: string | undefined): void {
    if (this.#isOver) return
    const { encoding, fields, grant, refreshFingerprint } = summarizeRequest(body, this.#facts.url.search)
    this.#grant = grant
    this.#sent = refreshFingerprint
    this.#span.setAttributes({ [ATTR_REQUEST_ENCODING]: encoding, [ATTR_REQUEST_FIELDS]: fields, [ATTR_VIA]: this.#via })
    if (grant === 'refresh') this.#noteBypass()
    if (grant === 'unknown') this.#span.setAttribute(ATTR_UNCERTAINTY, 'grant_unknown' satisfies Uncertainty)
    if (grant === 'other') this.#span.updateName(SPAN_EXCHANGE)
    if (!refreshFingerprint) return
    this.#span.setAttribute(ATTR_REFRESH_FINGERPRINT_BEFORE, refreshFingerprint)
    const known = this.#facts.lineageOf(refreshFingerprint)
    if (known) this.#noteLineage(known)
  }

  /**
   * Why it must not be sent; to be asked once its body is known. Only a refresh is refused.
   *
   * @returns The error that the application gets; `undefined` for a request that goes on.
   */
  refusal(): GatewayError | undefined {
    const { policy, url, caller } = this.#facts
    return policy === 'enforce' && this.#grant === 'refresh' ? bypassError(url, caller.label) : undefined
  }

  /** It was kept from being sent. */
  refused(): void {
    this.#isRefused = true
  }

  /** The answer is complete, or the request failed. */
  ended(end: OutgoingEnd): void {
    this.#isOver = true
    const { outcome, errorType: failure, providerCode, replayed = false } = this.#judge(end)
    if (replayed) this.#noteReplay()
    if (end.status !== undefined) this.#span.setAttribute(ATTR_HTTP_STATUS, end.status)
    if (providerCode) this.#span.setAttribute(ATTR_PROVIDER_ERROR_CODE, providerCode)
    if (this.#grant !== 'other') this.#noteOutcome(outcome, failure)
    if (!isSuccess(outcome)) {
      this.#span.setAttribute(ATTR_ERROR_TYPE, failure ?? outcome)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
  }

  /** A gate for refreshes is past by a refresh alone; of a body that cannot be read it is not known. */
  get #via(): Via {
    return this.#grant === 'refresh' ? 'bypass' : this.#grant === 'other' ? 'undeclared' : 'uncertain'
  }

  #noteBypass(): void {
    const { providerId, caller, policy } = this.#facts
    this.#span.setAttribute(ATTR_POLICY, policy)
    this.#span.addEvent(EVENT_BYPASS)
    this.#telemetry.instruments.add('bypasses', { provider: providerId, caller: caller.label, policy })
  }

  #noteLineage({ profileId, rotatedAway }: SeenToken): void {
    this.#profile = this.#telemetry.profile(profileId)
    this.#span.setAttribute(ATTR_PROFILE, this.#profile)
    if (rotatedAway) this.#noteReplay()
  }

  /** By our own lineage or by the provider's word. */
  #noteReplay(): void {
    if (this.#isReplay) return
    this.#isReplay = true
    const { providerId, caller } = this.#facts
    this.#span.setAttribute(ATTR_REPLAY, true)
    this.#span.addEvent(EVENT_REPLAY)
    this.#telemetry.instruments.add('replays', { provider: providerId, profile: this.#profile, caller: caller.label })
  }

  #noteOutcome(outcome: TokenRequestOutcome, failure: string | undefined): void {
    const { providerId, caller } = this.#facts
    this.#span.setAttribute(ATTR_OUTCOME, outcome)
    if (!isSuccess(outcome)) this.#span.setAttribute(ATTR_PERMANENT, isPermanent(outcome))
    this.#telemetry.instruments.record(
      'refreshDuration',
      (performance.now() - this.#startedAt) / 1000,
      {
        provider: providerId,
        profile: this.#profile,
        reason: 'unknown',
        outcome,
        via: this.#via,
        caller: caller.label,
        ...(failure && { [ATTR_ERROR_TYPE]: failure }),
      },
      this.#span.spanContext(),
    )
  }

  #judge(end: OutgoingEnd): TokenVerdict {
    if (this.#isRefused) return BLOCKED
    return judgeTokenAnswer(end, { grant: this.#grant, sent: this.#sent, judgeRefresh: this.#facts.judge })
  }
}
