import type { CallerSite } from '../domain/caller-site.ts'
import type { BypassPolicy } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { bypassError } from '../http-clients/client-adapter.ts'
import type { OutgoingEnd } from '../http-clients/node-response.ts'
import type { Provider } from '../providers/provider.ts'
import { OpenEvent } from '../telemetry/open-event.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { BLOCKED, judgeTokenAnswer } from '../token-requests/judge.ts'
import { type AskedGrant, summarizeRequest } from '../token-requests/request-summary.ts'

/** What is known of a refresh token that was seen going out. */
export interface SeenToken {
  readonly profileId: string
  /** It had been rotated away: sending it is a replay. */
  readonly rotatedAway: boolean
}

interface BypassFacts {
  readonly providerId: string
  readonly url: URL
  readonly caller: CallerSite
  readonly policy: BypassPolicy
  readonly judge: Provider['judgeRefresh']
  readonly lineageOf: (refresh: Fingerprint) => SeenToken | undefined
}

/** A gate for refreshes is past by a refresh alone; of a body that cannot be read it is not known. */
const VIA = { refresh: 'bypass', other: 'undeclared', unknown: 'uncertain' } as const satisfies Record<AskedGrant, string>

/** The event of one token request that did not come through the gate. */
export class BypassRecord extends OpenEvent<'token_request'> {
  readonly #facts: BypassFacts
  /** What it asks for; `unknown` until its body is. */
  #grant: AskedGrant = 'unknown'
  #sent: Fingerprint | undefined
  #isReplay = false
  #isRefused = false

  constructor(telemetry: Telemetry, facts: BypassFacts) {
    const { providerId, url, caller } = facts
    const target = { serverAddress: url.hostname, urlPath: url.pathname }
    const unread = { grant: 'unknown', via: VIA.unknown, uncertainty: 'grant_unknown' } as const
    super(telemetry, 'token_request', { ...unread, provider: providerId, reason: 'unknown', ...target }, { caller })
    this.#facts = facts
  }

  /** The request's body is known. */
  body(body: string | undefined): void {
    const { url, policy, lineageOf } = this.#facts
    const { encoding, fields, grant, refreshFingerprint } = summarizeRequest(body, url.search)
    this.#grant = grant
    this.#sent = refreshFingerprint
    this.set({
      grant,
      via: VIA[grant],
      policy: grant === 'refresh' ? policy : undefined,
      uncertainty: grant === 'unknown' ? 'grant_unknown' : undefined,
      requestEncoding: encoding,
      requestFields: fields,
      refreshFingerprintBefore: refreshFingerprint,
    })
    if (grant === 'refresh') this.step('bypass')
    const known = refreshFingerprint ? lineageOf(refreshFingerprint) : undefined
    if (known) this.set({ profile: this.telemetry.profile(known.profileId) })
    if (known?.rotatedAway) this.#noteReplay()
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
    const asked = { grant: this.#grant, sent: this.#sent, judgeRefresh: this.#facts.judge }
    const { outcome, errorType, providerCode, replayed = false } = this.#isRefused ? BLOCKED : judgeTokenAnswer(end, asked)
    if (replayed) this.#noteReplay()
    const isError = !isSuccess(outcome)
    this.end({
      outcome,
      isError,
      errorType: isError ? (errorType ?? outcome) : undefined,
      httpStatus: end.status,
      providerErrorCode: providerCode,
    })
  }

  /** By our own lineage or by the provider's word. */
  #noteReplay(): void {
    if (this.#isReplay) return
    this.#isReplay = true
    this.set({ replay: true })
    this.step('replay')
  }
}
