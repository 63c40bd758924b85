import type { FlightOutcome } from '../../otel/words.ts'
import { type ErrorBody, readErrorBody, retryAfterMs } from './error-body.ts'
import type { RefreshJudgement, RefusedAnswer } from './provider.ts'

/** Codes of one provider's token endpoint beyond RFC 6749. */
export type RefreshCodes = Readonly<Record<string, FlightOutcome>>

/** RFC 6749 section 5.2 and RFC 8628 section 3.5. */
const RFC_CODES: RefreshCodes = {
  invalid_grant: 'invalidated',
  invalid_client: 'malformed',
  invalid_request: 'malformed',
  invalid_scope: 'malformed',
  unauthorized_client: 'malformed',
  unsupported_grant_type: 'malformed',
  slow_down: 'throttled',
  server_error: 'unavailable',
  temporarily_unavailable: 'unavailable',
}

const USED_BEFORE_TEXT = /(?:already|previously) (?:been )?used|token reuse|reuse detected/
const EMPTY_TOKEN_TEXT = /refresh_token.*empty string/

/**
 * Judges a refused token request.
 *
 * Only clear codes are permanent, and only with a status of the 400s. What is not clear passes: a bare 401 or 400
 * without a code that we know is `forbidden` (transient, it backs off), because signing in again is the dearest remedy
 * and a proxy or a wall in between answers just so. A redirect is `unavailable`: token requests follow none, and what
 * redirects them is a portal or a moved endpoint.
 *
 * @param codes What the provider says beyond RFC 6749.
 */
export function judgeRefresh(answer: RefusedAnswer, codes: RefreshCodes = {}): RefreshJudgement {
  const body = readErrorBody(answer)
  const outcome = outcomeOf(answer.status, body, codes)
  const waitMs = outcome === 'throttled' || outcome === 'unavailable' ? retryAfterMs(answer.headers) : undefined
  const replayed = outcome === 'invalidated' && (body.code === 'refresh_token_reused' || USED_BEFORE_TEXT.test(body.message))
  return {
    outcome,
    ...(body.code === undefined ? {} : { providerCode: body.code }),
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
    ...(replayed ? { replayed } : {}),
  }
}

function outcomeOf(status: number, body: ErrorBody, codes: RefreshCodes): FlightOutcome {
  if (status === 429) return 'throttled'
  if (status >= 500 || status === 408 || status < 400) return 'unavailable'
  const { code, message } = body
  if (code === 'token_expired' && message.includes('could not validate')) return 'malformed'
  if (status === 400 && EMPTY_TOKEN_TEXT.test(message)) return 'malformed'
  const known = code === undefined ? undefined : (meaningOf(codes, code) ?? meaningOf(RFC_CODES, code))
  if (known) return known
  // 404, 405, 410: the endpoint is not there (any more), which says nothing about the grant.
  return status === 404 || status === 405 || status === 410 ? 'unavailable' : 'forbidden'
}

/** A table is asked for its own words only: a code may be called `constructor`. */
function meaningOf(codes: RefreshCodes, code: string): FlightOutcome | undefined {
  return Object.hasOwn(codes, code) ? codes[code] : undefined
}
