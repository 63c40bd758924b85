import type { Dispatcher } from 'undici'
import type { AnswerSink, Flow } from './answer-sink.ts'
import { Exchange, type UpstreamRequest } from './exchange.ts'
import { type ConnectionLimits, proxiesIn, proxyAgent } from './proxies.ts'
import { isLoopbackUrl } from './token-url.ts'

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

export const UPSTREAM_DEFAULTS = {
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
