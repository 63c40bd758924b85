import type { Dispatcher } from 'undici'
import type { AnswerHeaders, AnswerSink, Flow } from './answer-sink.ts'
import { ERROR_BODY_READ } from './provider.ts'
import { UpstreamError, upstreamError } from './upstream-error.ts'

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
export class Exchange implements Dispatcher.DispatchHandler, Flow {
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
