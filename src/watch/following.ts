/** How a watched request ended, as far as can be seen without touching it. */
export interface OutgoingEnd {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** The start of the body of a refused answer as it came, compressed or not, where the client lets it be seen. */
  readonly body?: Buffer
  readonly error?: unknown
}

/** Bytes of an answer that are waited for: less than clients buffer for an application that never reads. */
const MOST_ANSWER = 32 * 1024

/** One request followed to its end: whoever listens is told once, with what was seen until then. */
export class Following {
  readonly #told: (end: OutgoingEnd) => void
  /** Tells what was heard of the request's own body, when the answer is there before the body is complete. */
  readonly #bodySoFar: () => void
  readonly #held: Buffer[] = []
  #bytes = 0
  #status: number | undefined
  #headers: Readonly<Record<string, string>> | undefined
  #isOver = false

  constructor(told: (end: OutgoingEnd) => void, bodySoFar: () => void) {
    this.#told = told
    this.#bodySoFar = bodySoFar
  }

  /** The head of an answer; a later one (after a 1xx) replaces it. */
  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#status = status
    this.#headers = headers
  }

  /** A piece of the answer's body. An answer that goes on and on has said enough, and its reader may have left. */
  chunk(chunk: Uint8Array): void {
    if (this.#isOver) return
    const room = MOST_ANSWER - this.#bytes
    this.#bytes += chunk.byteLength
    if ((this.#status ?? 0) >= 300) this.#held.push(Buffer.from(chunk.subarray(0, room)))
    if (chunk.byteLength >= room) this.end()
  }

  end(error?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#bodySoFar()
    this.#told({
      ...(this.#status !== undefined && { status: this.#status }),
      ...(this.#headers && { headers: this.#headers }),
      ...(this.#held.length > 0 && { body: Buffer.concat(this.#held) }),
      ...(error !== undefined && { error }),
    })
  }
}
