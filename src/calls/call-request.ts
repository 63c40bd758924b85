import type { CallerSite } from '../domain/caller-site.ts'
import type { Billing, Protocol } from '../domain/enums.ts'
import { type GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { AnswerHeaders, Flow } from '../providers/upstream.ts'
import type { FallbackReason } from './fallback.ts'

/** One provider call, from its caller's view. */
export interface CallRequest {
  readonly caller: CallerSite
  readonly protocol: Protocol
  readonly model: string
  /** The caller asked for a stream of server-sent events. */
  readonly stream: boolean
  /** The request's body, passed on byte for byte; absent for a listing. */
  readonly body?: Buffer
  /** Query of the request with its question mark, passed on. */
  readonly query?: string
  /** Headers to pass on, names in lower case, without credentials and hop-by-hop headers. */
  readonly headers: Readonly<Record<string, string>>
  /** Only profiles of this provider may serve. */
  readonly provider?: string
  /** Only this profile may serve. */
  readonly profile?: string
  /** Only providers that speak this language too may serve: a listing of models comes in each provider's own. */
  readonly speaking?: Protocol
  /**
   * A probe, which changes nothing for the calls that follow: it affects no rotation or cooldown, and a rejected token
   * is not refreshed for it, since the next call may never meet that rejection.
   */
  readonly probe?: boolean
  /**
   * Aborts when the caller is gone: the upstream request is given up, and that is not an error. It is one when the reason is
   * `GW_CLOSED`: the gateway stops, and the caller waits on.
   */
  readonly signal?: AbortSignal
}

/** Which profile served, and what happened on the way. Names are as telemetry may show them. */
export interface Served {
  readonly provider: string
  readonly profile: string
  readonly billing: Billing
  /** Upstream requests made, this one included. */
  readonly attempts: number
  /** The steps from the preferred profile to this one; empty when it was the preferred one. */
  readonly fallbacks: readonly FallbackStep[]
  /** How the preferred profile would have paid, where this one pays otherwise; absent where it refused the call: that costs nothing. */
  readonly billingInsteadOf?: Billing
  readonly traceId: string
}

/** A profile that was given up for the next one. */
export interface FallbackStep {
  readonly from: string
  readonly to: string
  /** Attempt outcome, refresh outcome or skip reason. */
  readonly reason: string
}

/**
 * What receives the answer of a call, synchronously: `head` once, `chunk` any number of times, then one of `end` and
 * `fail`. Nothing is called for a call that no profile served.
 */
export interface CallSink {
  head(status: number, headers: AnswerHeaders, served: Served, flow: Flow): void
  /** @returns false to hold the provider back until `flow.resume()`. */
  chunk(chunk: Buffer): boolean
  end(): void
  /** The answer broke off after it had begun: it cannot be repeated any more. */
  fail(error: GatewayError): void
}

/** A provider's refusal, as it came. */
export interface CallRefusal {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: Buffer
  /** There was more of the body, which was not read. */
  readonly cut: boolean
}

/** How a call ended. */
export type CallEnd =
  | { readonly type: 'served'; readonly served: Served }
  | { readonly type: 'broken_off'; readonly served: Served }
  /** Given up: the caller is gone, or the gateway stops. */
  | { readonly type: 'aborted' }
  /** No profile served. `refusal` is the last provider's own answer, if there was one; `error` says it for all. */
  | {
      readonly type: 'failed'
      readonly error: GatewayError
      /** The trace that says why. */
      readonly traceId: string
      /** Why the last profile was given up; absent where there was none for it. */
      readonly reason?: FallbackReason
      readonly refusal?: CallRefusal
      readonly served?: Served
    }

/**
 * Says whether the caller of a request has left. A gateway that stops aborts the request too, with `GW_CLOSED` as its reason: then
 * the caller waits on.
 */
export function hasCallerLeft({ signal }: Pick<CallRequest, 'signal'>): boolean {
  return signal?.aborted === true && !isGatewayError(signal.reason, 'GW_CLOSED')
}
