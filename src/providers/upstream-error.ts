import { GatewayError } from '../domain/gateway-error.ts'

/**
 * How a provider request failed without an answer: no connection (its time-out included), silence past a time limit,
 * a connection that broke or spoke no HTTP, or given up by us.
 */
export type UpstreamErrorType = 'connect' | 'timeout' | 'reset' | 'aborted'

const MESSAGES: Readonly<Record<UpstreamErrorType, string>> = {
  connect: 'no connection to the provider could be made',
  timeout: 'the provider was silent for too long',
  reset: 'the connection to the provider broke',
  aborted: 'the provider request was given up',
}

/** A provider request that ended without a complete answer. `cause` is what the transport said; it names no secret. */
export class UpstreamError extends GatewayError {
  readonly type: UpstreamErrorType
  /** Bytes of the request may have reached the provider. */
  readonly sent: boolean

  constructor(type: UpstreamErrorType, sent: boolean, cause: unknown) {
    super(type === 'aborted' ? 'GW_ABORTED' : 'GW_UPSTREAM', MESSAGES[type], {
      next: type === 'aborted' ? 'nothing' : 'check_network',
      cause,
    })
    this.type = type
    this.sent = sent
  }
}

const TIMEOUT_CODES = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
const CLOSED_CODES = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED', 'UND_ERR_ABORTED'])

/** Classifies what undici reports. */
export function upstreamError(cause: unknown, sent: boolean): UpstreamError {
  if (cause instanceof UpstreamError) return cause
  const code = String((cause as { code?: unknown } | null)?.code ?? '')
  if (TIMEOUT_CODES.has(code)) return new UpstreamError('timeout', sent, cause)
  // undici calls it an abort when the proxy does not open the tunnel; nobody gave anything up.
  if (isRefusedByProxy(cause)) return new UpstreamError('connect', sent, Object.assign(cause, { code: 'PROXY_REFUSED' }))
  if (CLOSED_CODES.has(code)) return new UpstreamError('aborted', sent, cause)
  return new UpstreamError(sent ? 'reset' : 'connect', sent, withoutData(cause))
}

function isRefusedByProxy(cause: unknown): cause is Error {
  return cause instanceof Error && cause.message.startsWith('Proxy response (')
}

/** undici's parser errors carry the bytes they stumbled over, which may hold anything. */
function withoutData(cause: unknown): unknown {
  if (cause instanceof Error && 'data' in cause) cause.data = undefined
  return cause
}
