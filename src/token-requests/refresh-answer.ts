import type { TokenRequestOutcome } from '../domain/enums.ts'
import type { ExpiresInRepair } from '../providers/token-life.ts'
import type { HeadFacts, TokenVerdict } from './judge.ts'

/** Tokens came back. Field values are as the provider sent them, times made usable. */
export interface GrantedAnswer extends HeadFacts {
  readonly kind: 'granted'
  readonly access: string
  /** Absent where the provider lets the old one live on. */
  readonly refresh?: string
  readonly idToken?: string
  readonly scope?: string
  /** Life of the access token, in ms; always there: repaired from the token's own `exp`, else the default. */
  readonly expiresInMs: number
  readonly repaired?: ExpiresInRepair
  /** The account of the fresh token, if it states it. */
  readonly account?: string
}

/** The provider said no. */
export interface RefusedRefresh extends HeadFacts {
  readonly kind: 'refused'
  readonly verdict: TokenVerdict
}

/** Nothing that could be understood came back; what is known of the answer is there when one had begun. */
export interface UnansweredRefresh extends Partial<HeadFacts> {
  readonly kind: 'unanswered'
  readonly outcome: TokenRequestOutcome
  /**
   * The request may have reached the provider, so the refresh token may be spent. False only when no byte of it had
   * left: no connection, no TLS, or given up before.
   */
  readonly maybeTaken: boolean
  /** A system code such as `ECONNRESET`, or what was wrong with a 200: `answer_not_json`, `access_token_missing`, ... */
  readonly errorType: string
  /** What was caught; never holds text of the answer. */
  readonly cause: unknown
}

/** `RefreshRequest.mayLeave` said no: no byte of the request has left. */
interface HeldBackRefresh extends Partial<HeadFacts> {
  readonly kind: 'held_back'
}

export type RefreshAnswer = GrantedAnswer | RefusedRefresh | UnansweredRefresh | HeldBackRefresh
