/** How a watched request ended, as far as can be seen without touching it. */
export interface OutgoingEnd {
  readonly status?: number
  /** Put together when they are asked for: of most answers nobody wants them. */
  readonly headers?: AnswerHeaders | undefined
  /** The start of the body of a refused answer as it came, compressed or not, where the client lets it be seen. */
  readonly body?: Buffer
  /** When the first piece of the answer's body came, by `performance.now()`; absent where the client does not show it. */
  readonly firstChunkAtMs?: number
  readonly error?: unknown
}

export interface FollowOptions {
  /** Keeps the start of the body of a good answer too. @default false */
  keepsGood?: boolean
  /** Follows to the last byte, however long that takes; else an answer that goes on and on has said enough. @default false */
  toTheEnd?: boolean
}

/** Headers of an answer, names in lower case. */
export type AnswerHeaders = Readonly<Record<string, string>>

/** Told of the head of an answer as soon as it is there. */
export type HeadListener = (status: number, headers: () => AnswerHeaders) => void

/** Bytes of an answer that are waited for: less than clients buffer for an application that never reads. */
const MOST_ANSWER = 32 * 1024

/** One request followed to its end: whoever listens is told once, with what was seen until then. */
export class Following {
  readonly #told: (end: OutgoingEnd) => void
  readonly #headTold: HeadListener
  readonly #keepsGood: boolean
  readonly #toTheEnd: boolean
  readonly #held: Buffer[] = []
  #firstChunkAtMs: number | undefined
  #bytes = 0
  #status: number | undefined
  #headers: (() => AnswerHeaders) | undefined
  #isOver = false
  /** Pieces of the body come without the channel that tells of them too. */
  isHeardDirectly = false

  constructor(told: (end: OutgoingEnd) => void, headTold: HeadListener, { keepsGood = false, toTheEnd = false }: FollowOptions = {}) {
    this.#told = told
    this.#headTold = headTold
    this.#keepsGood = keepsGood
    this.#toTheEnd = toTheEnd
  }

  /** The head of an answer; a later one (after a 1xx) replaces it. */
  head(status: number, headers: () => AnswerHeaders): void {
    this.#status = status
    this.#headers = headers
    this.#headTold(status, headers)
  }

  /** A piece of the answer's body. An answer that goes on and on has said enough, and its reader may have left. */
  chunk(chunk: Uint8Array): void {
    if (this.#isOver) return
    this.#firstChunkAtMs ??= performance.now()
    const room = Math.max(0, MOST_ANSWER - this.#bytes)
    this.#bytes += chunk.byteLength
    if (room > 0 && (this.#keepsGood || (this.#status ?? 0) >= 300)) this.#held.push(Buffer.from(chunk.subarray(0, room)))
    if (chunk.byteLength >= room && !this.#toTheEnd) this.end()
  }

  end(error?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    const headers = this.#headers
    this.#told({
      ...(this.#status !== undefined && { status: this.#status }),
      get headers() {
        return headers?.()
      },
      ...(this.#held.length > 0 && { body: Buffer.concat(this.#held) }),
      ...(this.#firstChunkAtMs !== undefined && { firstChunkAtMs: this.#firstChunkAtMs }),
      ...(error !== undefined && { error }),
    })
  }
}
