import type { ServerResponse } from 'node:http'
import { isSpanContextValid } from '@opentelemetry/api'
import type { Protocol } from '../domain/enums.ts'
import { GatewayError, type GatewayErrorCode } from '../domain/gateway-error.ts'
import { activeSpanContext } from '../telemetry/telemetry.ts'

const STATUS: Readonly<Partial<Record<GatewayErrorCode, number>>> = {
  GW_BAD_REQUEST: 400,
  GW_UNAUTHORIZED: 401,
  GW_TOO_LARGE: 413,
  GW_OVERLOADED: 503,
  GW_ALL_PROFILES_FAILED: 502,
  GW_UPSTREAM: 502,
  GW_NO_PROFILE: 503,
  GW_CLOSED: 503,
  GW_STORE_UNREADABLE: 503,
  GW_STORE_DAMAGED: 503,
  GW_STORE_NEWER: 503,
}

/** Anthropic's words for what went wrong; everything else is its `api_error`. */
const ANTHROPIC_TYPE: Readonly<Partial<Record<GatewayErrorCode, string>>> = {
  GW_BAD_REQUEST: 'invalid_request_error',
  GW_UNAUTHORIZED: 'authentication_error',
  GW_TOO_LARGE: 'request_too_large',
  GW_OVERLOADED: 'overloaded_error',
}

interface ErrorAnswerOptions {
  /** What the client speaks. @default OpenAI's language */
  protocol?: Protocol | undefined
  /** @default by the error's code */
  status?: number
  /** The trace that says why. @default the active one */
  traceId?: string | undefined
}

/** Answers with an error of ours, in the words of the protocol the client speaks. */
export function answerError(response: ServerResponse, error: unknown, { protocol, status, traceId }: ErrorAnswerOptions = {}): void {
  const known =
    error instanceof GatewayError
      ? error
      : new GatewayError('GW_UPSTREAM', 'the gateway failed; its telemetry says where', { next: 'try_again_later', cause: error })
  if (response.headersSent) {
    response.destroy()
    return
  }
  keepPrivate(response)
  if (known.retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(known.retryAfterMs / 1000))
  const found = traceId ?? activeTraceId()
  if (found !== undefined) response.setHeader('x-gatewatch-trace', found)
  const body = Buffer.from(JSON.stringify(bodyOf(known, protocol)))
  response.writeHead(status ?? STATUS[known.code] ?? 500, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
  })
  response.end(body)
}

/** Keeps an answer out of caches, and a browser from taking it for something else than its type says. */
export function keepPrivate(response: ServerResponse): void {
  response.setHeader('cache-control', 'no-store')
  response.setHeader('x-content-type-options', 'nosniff')
}

function activeTraceId(): string | undefined {
  const span = activeSpanContext()
  return span && isSpanContextValid(span) ? span.traceId : undefined
}

function bodyOf({ code, message, next }: GatewayError, protocol: Protocol | undefined): object {
  if (protocol === 'messages')
    return { type: 'error', error: { type: ANTHROPIC_TYPE[code] ?? 'api_error', message: `${code}: ${message}` } }
  return { error: { message, type: 'gatewatch_error', param: null, code, next } }
}
