import type { RefreshJudgement } from './provider.ts'

/** What was wrong with `expires_in` and was repaired. */
export type ExpiresInRepair = 'missing' | 'zero' | 'string' | 'milliseconds'

/** What every answer of a token endpoint tells besides its verdict. */
interface AnswerFacts {
  readonly status: number
  /** The provider's id of the request. */
  readonly requestId?: string
  /** How far the provider's clock (`Date` header) is ahead of ours, in ms. */
  readonly skewMs?: number
}

/** Tokens came back. Field values are as the provider sent them, times made usable. */
export interface GrantedAnswer extends AnswerFacts {
  readonly kind: 'granted'
  readonly access: string
  /** Absent where the provider lets the old one live on. */
  readonly refresh?: string
  readonly idToken?: string
  readonly scope?: string
  /** Life of the access token, in ms; always there: repaired from the token's own `exp`, else the default. */
  readonly expiresInMs: number
  readonly repaired?: ExpiresInRepair
  /** The account of the fresh token, if it tells. */
  readonly account?: string
}

/** The provider said no. */
export interface RefusedRefresh extends AnswerFacts {
  readonly kind: 'refused'
  readonly judgement: RefreshJudgement
}

/** Nothing that could be understood came back. */
export interface UnansweredRefresh {
  readonly kind: 'unanswered'
  readonly outcome: 'unavailable' | 'timeout'
  /**
   * The request may have reached the provider, so the refresh token may be spent. False only when the connection
   * could not be made at all.
   */
  readonly maybeTaken: boolean
  readonly errorType: string
  readonly cause: unknown
}

export type RefreshAnswer = GrantedAnswer | RefusedRefresh | UnansweredRefresh
