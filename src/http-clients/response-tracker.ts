/** How a watched request ended, as far as can be seen without touching it. */
export interface OutgoingEnd {
  readonly status?: number | undefined
  /** Put together when they are asked for: of most answers nobody wants them. */
  readonly headers?: AnswerHeaders | undefined
  /** The start of the body of a refused answer as it came, compressed or not, where the client lets it be seen. */
  readonly body?: Buffer | undefined
  /** When the first piece of the answer's body came, by `performance.now()`; absent where the client does not show it. */
  readonly firstChunkAtMs?: number | undefined
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

/** Who has a request followed. */
export interface Follower {
  /** The head of an answer is there. */
  head(status: number, headers: () => AnswerHeaders | undefined): void
  /** It has ended; told once. */
  ended(end: OutgoingEnd): void
}

/** Bytes of an answer that are waited for: less than clients buffer for an application that never reads. */
export const MOST_ANSWER = 32 * 1024

/** One request followed to its end, and then what was seen of it. One object and no closures: there is one for every call. */
export class Following implements OutgoingEnd {
  readonly #follower: Follower
  readonly #keepsGood: boolean
  readonly #toTheEnd: boolean
  #held: Buffer[] | undefined
  #firstChunkAtMs: number | undefined
  #bytes = 0
  #status: number | undefined
  #rawHeaders: unknown
  #readHeaders: ((raw: never) => AnswerHeaders) | undefined
  #error: unknown
  #isOver = false
  /** Pieces of the body come without the channel that tells of them too. */
  isHeardDirectly = false

  constructor(follower: Follower, { keepsGood = false, toTheEnd = false }: FollowOptions = {}) {
    this.#follower = follower
    this.#keepsGood = keepsGood
    this.#toTheEnd = toTheEnd
  }

  get status(): number | undefined {
    return this.#status
  }

  get headers(): AnswerHeaders | undefined {
    return this.#readHeaders?.(this.#rawHeaders as never)
  }

  get body(): Buffer | undefined {
    return this.#held && Buffer.concat(this.#held)
  }

  get firstChunkAtMs(): number | undefined {
    return this.#firstChunkAtMs
  }

  get error(): unknown {
    return this.#error
  }

  /**
   * The head of an answer; a later one (after a 1xx) replaces it.
   *
   * @param raw The headers as the client has them, for `read` to make a table of.
   */
  head<Raw>(status: number, raw: Raw, read: (raw: Raw) => AnswerHeaders): void {
    if (this.#isOver) return
    this.#status = status
    this.#rawHeaders = raw
    this.#readHeaders = read as (raw: never) => AnswerHeaders
    // Whoever is told of a good one has nothing to do with it.
    if (status >= 300) this.#follower.head(status, () => this.headers)
  }

  /** A piece of the answer's body. An answer that goes on and on has said enough, and its reader may have left. */
  chunk(chunk: Uint8Array): void {
    if (this.#isOver) return
    this.#firstChunkAtMs ??= performance.now()
    const room = Math.max(0, MOST_ANSWER - this.#bytes)
    this.#bytes += chunk.byteLength
    if (room > 0 && (this.#keepsGood || (this.#status ?? 0) >= 300)) {
      this.#held ??= []
      this.#held.push(Buffer.from(chunk.subarray(0, room)))
    }
    if (chunk.byteLength >= room && !this.#toTheEnd) this.end()
  }

  end(error?: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    this.#follower.ended(this)
  }
}
