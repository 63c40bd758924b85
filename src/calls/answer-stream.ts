import { Readable } from 'node:stream'
import type { GatewayError } from '../domain/gateway-error.ts'
import type { AnswerHeaders, Flow } from '../providers/upstream.ts'
import type { CallSink, Served } from './call-request.ts'

/** The answer of a call made in code. */
export interface CallAnswer {
  readonly status: number
  readonly headers: AnswerHeaders
  /** The body as it comes; destroying it gives the upstream request up. */
  readonly body: Readable
  /** Which profile served, and how the call came to it. */
  readonly served: Served
}

/** Turns what a call delivers into a stream that is read at the reader's pace. */
export class AnswerStream implements CallSink {
  readonly #onAnswer: (answer: CallAnswer) => void
  readonly #giveUp: () => void
  #body: Readable | undefined

  /** @param giveUp Called when the reader destroys the body before its end. */
  constructor(onAnswer: (answer: CallAnswer) => void, giveUp: () => void) {
    this.#onAnswer = onAnswer
    this.#giveUp = giveUp
  }

  head(status: number, headers: AnswerHeaders, served: Served, flow: Flow): void {
    const giveUp = this.#giveUp
    this.#body = new Readable({
      read: () => flow.resume(),
      destroy(error, done) {
        giveUp()
        done(error)
      },
    })
    this.#onAnswer({ status, headers, body: this.#body, served })
  }

  chunk(chunk: Buffer): boolean {
    return this.#body?.push(chunk) ?? true
  }

  end(): void {
    this.#body?.push(null)
  }

  fail(error: GatewayError): void {
    this.#body?.destroy(error)
  }
}
