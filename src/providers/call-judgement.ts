import type { AttemptOutcome } from '../domain/enums.ts'
import { errorType, GatewayError } from '../domain/gateway-error.ts'
import type { Provider } from './provider.ts'
import { readRefusedAnswer } from './refused-answer.ts'
import type { AnswerHeaders, UpstreamError } from './upstream.ts'

/*
 * Judges of calls, in addition to `attempt-judgement.ts`, which judges what a provider answered: those that see less than the
 * gateway does, and what never got an answer.
 */

/** How the call ended, as far as it shows. */
export interface SeenEnd {
  readonly outcome: AttemptOutcome
  readonly status?: number
  /** Absent when it went well, and when its caller gave it up: neither is an error. */
  readonly failure?: string
  readonly providerCode?: string
}

/** Judges what a wrapped call returned: by its HTTP status, where it shows one. */
export function judgeResult(result: unknown): SeenEnd {
  const status = statusOf(result)
  if (status === undefined) return { outcome: 'ok' }
  if (status < 400) return { outcome: 'ok', status }
  const outcome = judgeStatus(status)
  return { outcome, status, failure: outcome }
}

/** Judges what a wrapped call threw. */
export function judgeThrown(error: unknown): SeenEnd {
  const status = statusOf(error) ?? statusOf((error as { response?: unknown } | null)?.response)
  if (status !== undefined) return { outcome: judgeStatus(status), status, failure: judgeStatus(status) }
  const { lastError } = (error ?? {}) as { lastError?: unknown }
  // The AI SDK throws after its retries, and keeps the error of the last one.
  if (lastError instanceof Error) return judgeThrown(lastError)
  const signs = signsOf(error)
  if (signs.some(sign => GIVEN_UP.has(sign))) return { outcome: 'aborted' }
  if (signs.some(sign => OF_TIME.test(sign))) return { outcome: 'timeout', failure: 'timeout' }
  return { outcome: 'server_error', failure: errorType(causeOf(error)) }
}

/** What an error is called: each client says it in another place. */
function signsOf(error: unknown): string[] {
  const cause = causeOf(error)
  return [error, cause].flatMap(one =>
    one instanceof Error ? [one.name, one.constructor.name, String((one as { code?: unknown }).code ?? '')] : [],
  )
}

/** What the network did is the cause of `TypeError: fetch failed` and of an SDK's connection error. */
function causeOf(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError) return error
  const { cause } = error
  return cause instanceof Error && ('code' in cause || cause.cause !== undefined) ? causeOf(cause) : error
}

/** `status` of a Response, of most SDKs' errors and of node-fetch; `statusCode` of undici and node:http. */
function statusOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { status, statusCode } = value as { status?: unknown; statusCode?: unknown }
  const found = status ?? statusCode
  return typeof found === 'number' && found >= 100 && found < 600 ? found : undefined
}

function judgeStatus(status: number): AttemptOutcome {
  if (status === 401 || status === 403) return 'auth'
  if (status === 402) return 'billing'
  if (status === 404) return 'model_not_found'
  if (status === 408 || status === 504) return 'timeout'
  if (status === 429) return 'rate_limit'
  if (status === 503 || status === 529) return 'overloaded'
  return status < 500 ? 'format' : 'server_error'
}

/** What a watch sees of the end of a call. */
interface SeenCallEnd {
  readonly status?: number | undefined
  readonly headers?: AnswerHeaders | undefined
  readonly body?: Buffer | undefined
  readonly error?: unknown
}

/** A caller left: DOM, undici, axios, the OpenAI and Anthropic SDKs, Node.js. */
const GIVEN_UP: ReadonlySet<string> = new Set([
  'AbortError',
  'UND_ERR_ABORTED',
  'ERR_CANCELED',
  'CanceledError',
  'APIUserAbortError',
  'ABORT_ERR',
])
/** A time limit: the same clients; axios says `ECONNABORTED`. */
const OF_TIME = /TIMEOUT|TimeoutError|ETIMEDOUT|^ECONNABORTED$/

/** Judges a call of another client by what was seen of it. */
export function judgeSeenCall(end: SeenCallEnd, judgeAttempt: Provider['judgeAttempt']): SeenEnd {
  const { status, error } = end
  if (status === undefined || (error !== undefined && status < 300)) {
    const failure = errorType(error)
    if (GIVEN_UP.has(failure)) return { outcome: 'aborted' }
    return { outcome: OF_TIME.test(failure) ? 'timeout' : 'server_error', failure }
  }
  if (status < 300) return { outcome: 'ok' }
  // Not read of an answer that went well: a watched process builds the table of headers, and joins the body, at each reading.
  const { outcome, providerCode } = judgeAttempt(readRefusedAnswer(status, end.headers ?? {}, end.body ?? Buffer.alloc(0)))
  return { outcome, failure: outcome, ...(providerCode && { providerCode }) }
}

/** Judges a request of ours without a complete answer. @param isGivenUp Its caller has left: that is no failure. */
export function judgeUnanswered(error: UpstreamError, isGivenUp: boolean): SeenEnd {
  const outcome = isGivenUp || error.type === 'aborted' ? 'aborted' : error.type === 'timeout' ? 'timeout' : 'server_error'
  // A request that we gave up although a caller waits for it has failed.
  return isGivenUp ? { outcome } : { outcome, failure: errorType(error.cause ?? error) }
}
