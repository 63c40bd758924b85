import { TraceFlags } from '@opentelemetry/api'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace'

/** Spans handed on in one turn of the event loop. */
const AT_ONCE = 64

/**
 * Takes spans off the turn of the request that ended them: a batch processor writes a whole batch out in the very call that
 * fills it, which one request in hundreds would have to wait for.
 */
export class ExportQueue implements SpanProcessor {
  readonly #processor: SpanProcessor
  readonly #most: number
  readonly #onFull: (count: number) => void
  #waiting: ReadableSpan[] = []
  #turn: NodeJS.Immediate | undefined

  /**
   * @param most Spans that wait at most.
   * @param onFull Notified of spans for which there was no room.
   */
  constructor(processor: SpanProcessor, most: number, onFull: (count: number) => void) {
    this.#processor = processor
    this.#most = most
    this.#onFull = onFull
  }

  onStart(): void {
    // Only finished spans are exported.
  }

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
    if (this.#waiting.length >= this.#most) {
      this.#onFull(1)
      return
    }
    this.#waiting.push(span)
    this.#turn ??= setImmediate(() => this.#handOn())
  }

  async forceFlush(): Promise<void> {
    this.#handAllOn()
    await this.#processor.forceFlush()
  }

  async shutdown(): Promise<void> {
    this.#handAllOn()
    await this.#processor.shutdown()
  }

  #handOn(): void {
    this.#turn = undefined
    for (const span of this.#waiting.splice(0, AT_ONCE)) this.#processor.onEnd(span)
    if (this.#waiting.length > 0) this.#turn = setImmediate(() => this.#handOn())
  }

  #handAllOn(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    for (const span of this.#waiting.splice(0)) this.#processor.onEnd(span)
  }
}
