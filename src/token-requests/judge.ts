import type { TokenRequestOutcome } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { errorType, type GatewayErrorCode } from '../domain/gateway-error.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { MOST_ANSWER } from '../http-clients/node-response.ts'
import { dateOf } from '../providers/error-body.ts'
import type { Provider, TokenJudgement } from '../providers/provider.ts'
import { judgeRefresh } from '../providers/refresh-judgement.ts'
import { readText } from '../providers/refused-answer.ts'
import { isTokenRefusal, readTokenFields, secretText, type TokenFields } from '../providers/token-fields.ts'
import type { AnswerHeaders } from '../providers/upstream.ts'
import { UpstreamError } from '../providers/upstream.ts'
import type { AskedGrant } from './request-summary.ts'

/** What was seen of the answer to a token request, by the process that sent it or by a watch. */
interface SeenAnswer {
  readonly status?: number | undefined
  readonly headers?: AnswerHeaders | undefined
  /** The body as it came, compressed or not. */
  readonly body?: Buffer | undefined
  /** Whether `body` is all of it; absent where the client that sent the request does not show that. */
  readonly isWhole?: boolean
  /** Why no complete answer came. */
  readonly error?: unknown
}

/** What the judge has to know of the request. */
interface JudgedRequest {
  /** What was asked for. @default 'refresh' */
  readonly grant?: AskedGrant
  /** Fingerprint of the refresh token that was sent. */
  readonly sent?: Fingerprint | undefined
  /** Judges a refusal, as the provider means it. @default by the standards */
  readonly judgeRefresh?: Provider['judgeRefresh'] | undefined
}

/** What became of a token request. */
export interface TokenVerdict extends TokenJudgement {
  /** `error.type` of one that brought no token. */
  readonly errorType?: string
  /** The fields of an answer that refuses nothing; absent where they could not be read. */
  readonly fields?: TokenFields
}

/** The process ended before the answer was there: the provider may have rotated the token. */
export const PROCESS_ENDED = new Error('the process ended')

/** It went past the gate, and was not sent. */
export const BLOCKED: TokenVerdict = { outcome: 'blocked', errorType: 'GATEWATCH_BYPASS' satisfies GatewayErrorCode }

/** What is wrong with a good answer that should have held tokens. */
export type UnreadableAnswer = 'answer_too_long' | 'answer_not_json' | 'access_token_missing' | 'answer_not_conform'

/** Most bytes of an answer that are read, inflated; tokens are shorter. */
export const ANSWER_READ = 1024 * 1024
/** Ways in which the application itself, or its clock, gives a request up. */
const GIVEN_UP = new Set(['AbortError', 'TimeoutError', 'UND_ERR_ABORTED', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
/** Where providers say what they call the request. */
const ID_HEADERS = ['x-request-id', 'request-id', 'x-oai-request-id', 'cf-ray']

/**
 * Judges the end of a token request, for the gate, the watch, the wrappers and logins alike.
 *
 * A body that could not be seen, or not whole, may hold tokens: a status of the 200s is then taken at its word.
 */
export function judgeTokenAnswer(answer: SeenAnswer, request: JudgedRequest = {}): TokenVerdict {
  const { status, headers = {}, body, isWhole, error } = answer
  if (status === undefined || (error !== undefined && status < 300)) return judgeFailure(error)
  const text = body ? readText(headers, body, ANSWER_READ) : ''
  const fields = readTokenFields(text)
  if (isTokenRefusal(status, fields)) {
    const judgement = (request.judgeRefresh ?? judgeRefresh)({ status, headers, body: text })
    return isSuccess(judgement.outcome) ? judgement : { ...judgement, errorType: judgement.outcome }
  }
  if (isWhole === false) return unreadableVerdict('answer_too_long')
  const isSeen = isWhole || (body !== undefined && body.length < MOST_ANSWER && text.trim() !== '')
  if (!isSeen) return { outcome: successOf(request, undefined), ...(fields && { fields }) }
  if (!fields) return unreadableVerdict('answer_not_json')
  if (secretText(fields.access_token) === undefined) return { ...unreadableVerdict('access_token_missing'), fields }
  return { outcome: successOf(request, fields), fields }
}

/** Says whether tokens came, seen or not. */
export function isGranted({ outcome }: TokenVerdict): boolean {
  return outcome === 'rotated' || outcome === 'renewed' || outcome === 'granted'
}

/** A good answer that cannot be read: the provider took the token, and what it gave for it is lost on us. */
export function unreadableVerdict(what: UnreadableAnswer): TokenVerdict & { readonly errorType: string } {
  return { outcome: 'unreadable', errorType: what }
}

function successOf({ grant = 'refresh', sent }: JudgedRequest, fields: TokenFields | undefined): TokenRequestOutcome {
  if (grant === 'other') return 'granted'
  if (!fields) return 'rotated'
  const refresh = secretText(fields.refresh_token)
  return refresh === undefined || fingerprint(refresh) === sent ? 'renewed' : 'rotated'
}

function judgeFailure(error: unknown): TokenVerdict {
  if (error === PROCESS_ENDED) return { outcome: 'lost', errorType: 'lost' }
  const type = errorType(error)
  if (type === BLOCKED.errorType) return BLOCKED
  if (error instanceof UpstreamError) return judgeUpstreamError(error)
  return { outcome: GIVEN_UP.has(type) ? 'timeout' : 'unavailable', errorType: type }
}

function judgeUpstreamError(error: UpstreamError): TokenVerdict {
  const { type, sent, cause } = error
  const name = cause === undefined ? error.code : errorType(cause)
  if (type === 'aborted' && !sent && name !== 'TimeoutError') return { outcome: 'cancelled', errorType: name }
  return { outcome: type === 'timeout' || type === 'aborted' ? 'timeout' : 'unavailable', errorType: name }
}

/** What the head of an answer states, whatever was decided. */
export interface HeadFacts {
  readonly status: number
  /** The provider's id of the request. */
  readonly requestId?: string
  /** How far the provider's clock is ahead of ours, in ms; the `Date` header counts whole seconds, so it is good to a second. */
  readonly skewMs?: number
  /** Media type of the answer, without its parameters. */
  readonly contentType?: string
}

/** @param now Our clock as the answer came, epoch milliseconds. */
export function headFacts(status: number, headers: AnswerHeaders = {}, now: number): HeadFacts {
  const requestId = requestIdOf(headers)
  const date = dateOf(headers)
  const contentType = String(headers['content-type'] ?? '')
    .split(';', 1)[0]
    ?.trim()
    .toLowerCase()
  return {
    status,
    ...(requestId !== undefined && { requestId }),
    ...(date !== undefined && { skewMs: Math.round(date - now) }),
    ...(contentType && { contentType }),
  }
}

/** The provider's id of a request. */
export function requestIdOf(headers: AnswerHeaders = {}): string | undefined {
  return ID_HEADERS.map(name => headers[name]).find(isPlainId)
}

function isPlainId(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.:-]{1,128}$/.test(value)
}
