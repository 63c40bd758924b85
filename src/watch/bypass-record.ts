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
  ATTR_SERVER_ADDRESS,
  ATTR_SHAPE_ENCODING,
  ATTR_SHAPE_FIELDS,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_REPLAY,
  SPAN_EXCHANGE,
  SPAN_REFRESH,
} from '../../otel/names.ts'
import type { BypassPolicy, FlightOutcome } from '../../otel/words.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isPermanent, isSuccess } from '../domain/flight-outcome.ts'
import type { GatewayErrorCode } from '../domain/gateway-error.ts'
import type { Provider } from '../providers/provider.ts'
import { callerAttributes } from '../telemetry/caller.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { OutgoingEnd } from './following.ts'
import { shapeOf } from './shape.ts'
import { type Verdict, verdictOf } from './token-verdict.ts'

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
  /** Under `enforce` nothing was sent. */
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
  /** The profile's name for labels, once the token that is sent tells it. */
  #profile = 'unknown'
  #isReplay = false
  /** A code or a device is exchanged for tokens: past the gate like any other, but no refresh. */
  #isExchange = false

  constructor(telemetry: Telemetry, facts: BypassFacts) {
    const { providerId, url, caller, policy } = facts
    this.#telemetry = telemetry
    this.#facts = facts
    this.#span = telemetry.startSpan(SPAN_REFRESH, {
      kind: SpanKind.CLIENT,
      attributes: {
        [ATTR_PROVIDER]: providerId,
        [ATTR_VIA]: 'bypass',
        [ATTR_POLICY]: policy,
        [ATTR_REASON]: 'unknown',
        [ATTR_SERVER_ADDRESS]: url.hostname,
        [ATTR_URL_PATH]: url.pathname,
        ...callerAttributes(caller),
      },
    })
    this.#span.addEvent(EVENT_BYPASS)
    telemetry.instruments.add('bypasses', { provider: providerId, caller: caller.label, policy })
  }

  /** The request's body is complete. */
  body(body: string | undefined): void {
    if (!this.#span.isRecording()) return
    const { encoding, fields, grantType, refreshFingerprint } = shapeOf(body)
    this.#span.setAttributes({ [ATTR_SHAPE_ENCODING]: encoding, [ATTR_SHAPE_FIELDS]: fields })
    if (grantType !== undefined && grantType !== 'refresh_token') {
      this.#isExchange = true
      this.#span.updateName(SPAN_EXCHANGE)
    }
    if (!refreshFingerprint) return
    this.#span.setAttribute(ATTR_REFRESH_FINGERPRINT_BEFORE, refreshFingerprint)
    const known = this.#facts.lineageOf(refreshFingerprint)
    if (known) this.#noteLineage(known)
  }

  /** The answer is complete, or the request failed. */
  ended(end: OutgoingEnd): void {
    const { outcome, failure, providerCode, isReplay = false } = this.#judge(end)
    if (isReplay) this.#noteReplay()
    if (end.status !== undefined) this.#span.setAttribute(ATTR_HTTP_STATUS, end.status)
    if (providerCode) this.#span.setAttribute(ATTR_PROVIDER_ERROR_CODE, providerCode)
    if (!this.#isExchange) this.#noteOutcome(outcome, failure)
    if (!isSuccess(outcome)) {
      this.#span.setAttribute(ATTR_ERROR_TYPE, failure ?? outcome)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
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

  #noteOutcome(outcome: FlightOutcome, failure: string | undefined): void {
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
        via: 'bypass',
        caller: caller.label,
        ...(failure && { [ATTR_ERROR_TYPE]: failure }),
      },
      this.#span.spanContext(),
    )
  }

  #judge(end: OutgoingEnd): Verdict {
    if (this.#facts.policy === 'enforce') return { outcome: 'blocked', failure: 'GATEWATCH_BYPASS' satisfies GatewayErrorCode }
    // The answer itself is not read here: whether it left the refresh token as it was is not known.
    return verdictOf(end, this.#facts.judge, false)
  }
}
