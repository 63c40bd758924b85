import type { Agent, Dispatcher } from 'undici'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { ERROR_BODY_READ, isLoopbackUrl } from './provider.ts'

/**
 * How a provider request failed without an answer: no connection (its time-out included), silence past a time limit,
 * a connection that broke or spoke no HTTP, or given up by us.
 */
type UpstreamErrorType = 'connect' | 'timeout' | 'reset' | 'aborted'

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
function upstreamError(cause: unknown, sent: boolean): UpstreamError {
  if (cause instanceof UpstreamError) return cause
  const code = String((cause as { code?: unknown } | null)?.code ?? '')
  if (TIMEOUT_CODES.has(code)) return new UpstreamError('timeout', sent, cause)
  // undici calls it an abort when the proxy does not open the tunnel; no caller aborted.
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

/** Headers of an answer, by their names in lower case. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

/** What a sink, or the process that sent the request, can do to an exchange under way. */
export interface Flow {
  /** The sink has been reported how it ended. */
  readonly isOver: boolean
  /** The request has begun to leave. */
  readonly isSent: boolean
  /** Holds the provider back: its bytes stay in the socket's buffers until `resume`. */
  pause(): void
  resume(): void
  /**
   * Gives the request up and cuts its connection; the sink's `onError` is called before this returns. Does nothing when
   * it is over.
   */
  abort(reason?: unknown): void
}

/** A body that was collected. */
export interface CollectedBody {
  readonly bytes: Buffer
  /** There was more, which was not read; the length the provider announced does not hold. */
  readonly cut: boolean
}

/**
 * What receives an answer, synchronously, in this order: `onHead` once, `onChunk` any number of times, then exactly one
 * of `onEnd` and `onError`. `onError` may come first and alone. A sink that throws gives the request up and is notified.
 */
export interface AnswerSink {
  /**
   * The head of the final answer (1xx are passed over).
   *
   * @returns `'stream'` to be given chunks; `'collect'` to be given the body as a whole, cut, with `onEnd`.
   */
  onHead(status: number, headers: AnswerHeaders, flow: Flow): 'stream' | 'collect'
  /** @returns false to pause the provider until `flow.resume()`; the chunk itself counts as taken. */
  onChunk(chunk: Buffer): boolean
  /** @param collected The body, at most `collectBytes` of it, when `onHead` said `'collect'`. */
  onEnd(collected: CollectedBody | undefined): void
  /** Must not throw: nothing handles the error. */
  onError(error: UpstreamError): void
}

/** The proxies that the environment names, by the scheme of the URL that is asked for. */
interface Proxies {
  readonly http?: string
  readonly https?: string
}

/** Limits of a dispatcher as undici names them; times in ms. */
type ConnectionLimits = Required<Pick<Agent.Options, 'connections' | 'headersTimeout' | 'bodyTimeout' | 'connectTimeout' | 'allowH2'>>

const PROTOCOLS = new Set(['http:', 'https:', 'socks5:', 'socks:'])

/**
 * Reads `HTTPS_PROXY` and `HTTP_PROXY`, in lower case too, which counts more. `NO_PROXY` is undici's to read.
 *
 * @returns `undefined` where none is named.
 * @throws {GatewayError} `GW_CONFIG` for what is no URL of a proxy; it may hold a password, so it is not repeated.
 */
export function proxiesIn(environment: Readonly<Record<string, string | undefined>>): Proxies | undefined {
  const http = readProxy(environment, 'HTTP_PROXY')
  const https = readProxy(environment, 'HTTPS_PROXY')
  return http || https ? { ...(http && { http }), ...(https && { https }) } : undefined
}

/**
 * A dispatcher that goes by the proxies: a tunnel (RFC 9110 section 9.3.6) for `https:`, the whole URL in the request for `http:`.
 *
 * @param limits `connectTimeout` holds for the proxy, for its answer to CONNECT, and for the handshake behind it, each.
 */
function proxyAgent(
  { EnvHttpProxyAgent, Pool }: typeof import('undici'),
  { http = '', https = '' }: Proxies,
  limits: ConnectionLimits,
): Dispatcher {
  return new EnvHttpProxyAgent({
    ...limits,
    httpProxy: http,
    httpsProxy: https,
    // To the proxy itself: what counts there is how soon it answers to CONNECT, not how long a model thinks.
    clientFactory: (origin, given) => new Pool(origin, { ...given, headersTimeout: limits.connectTimeout }),
  })
}

function readProxy(environment: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const key = [name.toLowerCase(), name].find(one => environment[one])
  const url = key && environment[key]
  if (!url) return undefined
  if (URL.canParse(url) && PROTOCOLS.has(new URL(url).protocol)) return url
  throw configError(`${key} must be the URL of a proxy, http://host:port (https, socks5 and socks are allowed too)`)
}

/** One request to a provider, ready to be sent. */
export interface UpstreamRequest {
  /** Scheme, host and port. */
  readonly origin: string
  /** Path with query. */
  readonly path: string
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
  /** Gives the request up when it aborts. */
  readonly signal?: AbortSignal
  /** Most bytes of an answer that is collected. @default ERROR_BODY_READ */
  readonly collectBytes?: number
  /** Longest time from the head of an answer that is collected to its end, in ms; what is there then is all. @default no limit */
  readonly collectMs?: number
  /**
   * Asked when the connection stands and the request is about to be written to its socket: `false` ends the request, and
   * no byte of it has left. undici writes a `Buffer` body in the same synchronous run, so nothing comes in between.
   */
  readonly mayLeave?: () => boolean
}

/**
 * One request and its answer on their way: undici's handler on one side, a sink on the other.
 *
 * Its methods named `on...` are undici's to call; the rest is for the process that sent the request.
 */
class Exchange implements Dispatcher.DispatchHandler, Flow {
  readonly #sink: AnswerSink
  readonly #signal: AbortSignal | undefined
  readonly #collectBytes: number
  readonly #collectMs: number | undefined
  readonly #mayLeave: () => boolean
  #controller: Dispatcher.DispatchController | undefined
  #collected: Buffer[] | undefined
  #collectedBytes = 0
  #collectLimit: NodeJS.Timeout | undefined
  #isSent = false
  #isOver = false

  constructor({ signal, collectBytes = ERROR_BODY_READ, collectMs, mayLeave = () => true }: UpstreamRequest, sink: AnswerSink) {
    this.#sink = sink
    this.#collectBytes = collectBytes
    this.#collectMs = collectMs
    this.#mayLeave = mayLeave
    this.#signal = signal
    if (!signal) return
    // The sink hears of it on a later tick even then: `onError` before `send` has returned is unexpected.
    if (signal.aborted) queueMicrotask(this.#onAbort)
    else signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get isSent(): boolean {
    return this.#isSent
  }

  pause(): void {
    this.#controller?.pause()
  }

  resume(): void {
    this.#controller?.resume()
  }

  abort(reason?: unknown): void {
    this.#fail(new UpstreamError('aborted', this.#isSent, reason))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isOver || !this.#mayLeave()) controller.abort(new UpstreamError('aborted', false, undefined))
    else this.#isSent = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: AnswerHeaders): void {
    if (status < 200 || this.#isOver) return
    this.#controller = controller
    try {
      if (this.#sink.onHead(status, headers, this) === 'collect') this.#beginToCollect()
    } catch (cause) {
      this.abort(cause)
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return
    try {
      if (this.#collected) this.#collect(this.#collected, chunk)
      else if (!this.#sink.onChunk(chunk)) controller.pause()
    } catch (cause) {
      this.abort(cause)
    }
  }

  onResponseEnd(): void {
    this.#end(false)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: unknown): void {
    this.#fail(upstreamError(error, this.#isSent))
  }

  readonly #onAbort = (): void => this.abort(this.#signal?.reason)

  #beginToCollect(): void {
    this.#collected = []
    if (this.#collectMs !== undefined) this.#collectLimit = setTimeout(() => this.#cut(), this.#collectMs)
  }

  #collect(collected: Buffer[], chunk: Buffer): void {
    const room = this.#collectBytes - this.#collectedBytes
    collected.push(chunk.length > room ? chunk.subarray(0, room) : chunk)
    this.#collectedBytes += chunk.length
    if (chunk.length > room) this.#cut()
  }

  /** What was collected so far is all that is read. */
  #cut(): void {
    this.#end(true)
    this.#controller?.abort(new UpstreamError('aborted', true, undefined))
  }

  #end(cut: boolean): void {
    if (this.#isOver) return
    this.#close()
    try {
      this.#sink.onEnd(this.#collected && { bytes: Buffer.concat(this.#collected), cut })
    } catch (cause) {
      // undici would swallow it; a caller that waits for this answer has to hear of it.
      this.#sink.onError(new UpstreamError('aborted', true, cause))
    }
  }

  #fail(error: UpstreamError): void {
    if (this.#isOver) return
    this.#close()
    if (this.#controller && !this.#controller.aborted) this.#controller.abort(error)
    this.#sink.onError(error)
  }

  #close(): void {
    this.#isOver = true
    clearTimeout(this.#collectLimit)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}

export interface UpstreamOptions {
  /** Connections per origin; `null` is unlimited: a queue would let one slow stream hold up another call. @default null */
  connections?: number | null | undefined
  /** Longest wait for the head of an answer, in ms; models think before they speak. @default 300_000 */
  headersTimeoutMs?: number | undefined
  /** Longest silence within a body, in ms; a paused sink does not count as silence. @default 300_000 */
  bodyIdleMs?: number | undefined
  /** Longest wait for a connection with its TLS handshake, in ms. @default 10_000 */
  connectTimeoutMs?: number | undefined
}

type UpstreamLimits = { readonly [Key in keyof UpstreamOptions]-?: Exclude<UpstreamOptions[Key], undefined> }

const UPSTREAM_DEFAULTS = {
  connections: null,
  headersTimeoutMs: 300_000,
  bodyIdleMs: 300_000,
  connectTimeoutMs: 10_000,
} as const satisfies UpstreamLimits

/** undici, once a caller sent something: loading it changes what the host's global `fetch` runs on. */
let undici: typeof import('undici') | undefined

/**
 * The transport of provider calls: keep-alive connections, no promise and no stream per chunk. It judges nothing, follows
 * no redirect, repeats nothing, and passes compressed bodies through as they are. Where the environment names a proxy, it
 * goes by that one, for calls and token requests alike; but never to this machine itself.
 */
export class Upstream {
  readonly #options: UpstreamLimits
  readonly #proxies = proxiesIn(process.env)
  #direct: Dispatcher | undefined
  #proxied: Dispatcher | undefined
  #isClosed = false

  /** @throws {GatewayError} `GW_CONFIG` when the environment names a proxy that is none. */
  constructor(options: UpstreamOptions = {}) {
    this.#options = {
      connections: options.connections ?? UPSTREAM_DEFAULTS.connections,
      headersTimeoutMs: options.headersTimeoutMs ?? UPSTREAM_DEFAULTS.headersTimeoutMs,
      bodyIdleMs: options.bodyIdleMs ?? UPSTREAM_DEFAULTS.bodyIdleMs,
      connectTimeoutMs: options.connectTimeoutMs ?? UPSTREAM_DEFAULTS.connectTimeoutMs,
    }
  }

  /**
   * Sends a request; `sink` is reported how it goes. Never throws.
   *
   * Synchronous but for the very first request of the process, which waits for undici to load.
   *
   * @returns The handle to pause, resume and give up the exchange, good from now on.
   */
  send(request: UpstreamRequest, sink: AnswerSink): Flow {
    const exchange = new Exchange(request, sink)
    if (undici) this.#dispatch(undici, request, exchange)
    else
      import('undici').then(
        loaded => {
          undici = loaded
          this.#dispatch(loaded, request, exchange)
        },
        error => exchange.onResponseError(null, error),
      )
    return exchange
  }

  /** Closes every connection; what is under way ends in `onError` as `aborted`. A caller that wants to drain, drains first. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([this.#direct?.destroy(), this.#proxied?.destroy()])
  }

  #dispatch(loaded: typeof import('undici'), request: UpstreamRequest, exchange: Exchange): void {
    if (this.#isClosed) exchange.abort()
    // A signal that has aborted is heard in a moment; nothing may leave until then.
    if (exchange.isOver || request.signal?.aborted) return
    try {
      const { origin, path, method, headers, body = null } = request
      this.#dispatcher(loaded, origin).dispatch({ origin, path, method, headers, body }, exchange)
    } catch (error) {
      exchange.onResponseError(null, error)
    }
  }

  #dispatcher(loaded: typeof import('undici'), origin: string): Dispatcher {
    // What may go without TLS because it stays on this machine must not leave it.
    if (this.#proxies && !isLoopbackUrl(origin)) {
      this.#proxied ??= proxyAgent(loaded, this.#proxies, this.#limits)
      return this.#proxied
    }
    this.#direct ??= new loaded.Agent(this.#limits)
    return this.#direct
  }

  get #limits(): ConnectionLimits {
    const { connections, headersTimeoutMs, bodyIdleMs, connectTimeoutMs } = this.#options
    return {
      connections,
      headersTimeout: headersTimeoutMs,
      bodyTimeout: bodyIdleMs,
      connectTimeout: connectTimeoutMs,
      // One HTTP/2 session for all would make a stalled stream or a lost connection everybody's.
      allowH2: false,
    }
  }
}
