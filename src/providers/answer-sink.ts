import type { UpstreamError } from './upstream-error.ts'

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
