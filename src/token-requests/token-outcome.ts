import type { RefreshOutcome } from '../domain/enums.ts'
import { errorType, type GatewayErrorCode } from '../domain/gateway-error.ts'
import { MOST_ANSWER, type OutgoingEnd } from '../http-clients/response-tracker.ts'
import { dateOf } from '../providers/error-body.ts'
import type { UnreadableAnswer } from '../providers/granted-answer.ts'
import type { Provider, RefreshJudgement } from '../providers/provider.ts'
import { readRefusedAnswer } from '../providers/refused-answer.ts'
import { isTokenRefusal, readTokenFields } from '../providers/token-fields.ts'

/** What became of a token request. `failure` is the `error.type` of one that brought no token. */
export interface TokenOutcome {
  readonly outcome: RefreshOutcome
  readonly failure?: string
  readonly providerCode?: string
  /** The provider says that the refresh token had been used before. */
  readonly isReplay?: boolean
  readonly retryAfterMs?: number
}

/** The process ended before the answer was there: the provider may have rotated the token. */
export const PROCESS_ENDED = new Error('the process ended')

/** It went past the gate, and was not sent. */
export const BLOCKED: TokenOutcome = { outcome: 'blocked', failure: 'GATEWATCH_BYPASS' satisfies GatewayErrorCode }

/** Ways in which the application itself, or its clock, gives a request up. */
const GIVEN_UP = new Set(['AbortError', 'TimeoutError', 'UND_ERR_ABORTED', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
/** As the gate calls it. */
const UNREADABLE = 'answer_not_json' satisfies UnreadableAnswer
/** Where providers say what they call the request. */
const ID_HEADERS = ['x-request-id', 'request-id', 'x-oai-request-id', 'cf-ray']

/**
 * Judges the end of a token request.
 *
 * @param judgeRefresh Judges a refusal, as the provider means it.
 * @param isRetained The answer was read, and left the refresh token as it was.
 */
export function tokenOutcomeOf(
  { status, headers = {}, body = Buffer.alloc(0), error }: OutgoingEnd,
  judgeRefresh: Provider['judgeRefresh'],
  isRetained: boolean,
): TokenOutcome {
  if (error === PROCESS_ENDED) return { outcome: 'lost', failure: 'lost' }
  if (errorType(error) === BLOCKED.failure) return BLOCKED
  if (status === undefined || (error !== undefined && status < 300)) {
    const failure = errorType(error)
    return { outcome: GIVEN_UP.has(failure) ? 'timeout' : 'unavailable', failure }
  }
  if (isUnreadable({ status, headers, body })) return { outcome: 'unavailable', failure: UNREADABLE }
  const refusal = refusalIn({ status, headers, body }, judgeRefresh)
  if (!refusal) return { outcome: isRetained ? 'renewed' : 'rotated' }
  const { outcome, providerCode, retryAfterMs, replayed } = refusal
  return {
    outcome,
    failure: outcome,
    ...(providerCode && { providerCode }),
    ...(replayed && { isReplay: true }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}

/** What an answer says that grants nothing, whatever its status; `undefined` for one that grants, or cannot be seen. */
export function refusalIn(
  { status, headers = {}, body = Buffer.alloc(0) }: OutgoingEnd,
  judgeRefresh: Provider['judgeRefresh'],
): RefreshJudgement | undefined {
  if (status === undefined) return undefined
  const answer = readRefusedAnswer(status, headers, body)
  return isTokenRefusal(status, readTokenFields(answer.body)) ? judgeRefresh(answer) : undefined
}

/**
 * Says whether a good answer holds something else than tokens, or tokens among which none can be chosen: the gate cannot read
 * such a one either. One that is compressed in a way we do not know, or that was not seen whole, may hold anything.
 */
export function isUnreadable({ status = 0, headers = {}, body }: OutgoingEnd): boolean {
  if (status < 200 || status > 299 || !body || body.length >= MOST_ANSWER) return false
  const { body: text } = readRefusedAnswer(status, headers, body)
  return text.trim() !== '' && readTokenFields(text) === undefined
}

/** The provider's id of the request. */
export function requestIdIn(headers: OutgoingEnd['headers'] = {}): string | undefined {
  const name = ID_HEADERS.find(header => headers[header])
  return name && headers[name]
}

/** Seconds that the provider's clock is ahead of ours; the header has no finer unit. */
export function skewOf(headers: OutgoingEnd['headers'] = {}, nowMs: number): number | undefined {
  const date = dateOf(headers)
  return date === undefined ? undefined : Math.round((date - nowMs) / 1000)
}
