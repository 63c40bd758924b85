import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ClientHttp2Stream } from 'node:http2'
import { replaceMethod } from '../tools/replace-method.ts'

/** How a watched request ended, as far as can be seen without touching it. */
export interface OutgoingEnd {
  readonly status?: number | undefined
  /** Put together when they are asked for: of most answers no caller wants them. */
  readonly headers?: ResponseHeaders | undefined
  /** The start of the body of a refused answer as it came, compressed or not, where the client lets it be seen. */
  readonly body?: Buffer | undefined
  /** When the first piece of the answer's body came, by `performance.now()`; absent where the client does not show it. */
  readonly firstChunkAtMs?: number | undefined
  readonly error?: unknown
}

export interface TrackOptions {
  /** Keeps the start of the body of a good answer too. @default false */
  keepsGood?: boolean
  /** Follows to the last byte, however long that takes; else an answer that goes on and on has said enough. @default false */
  toTheEnd?: boolean
}

/** Headers of an answer, names in lower case. */
export type ResponseHeaders = Readonly<Record<string, string>>

/** Who has a request followed. */
export interface ResponseListener {
  /** The head of an answer is there. */
  head(status: number, headers: () => ResponseHeaders | undefined): void
  /** It has ended; reported once. */
  ended(end: OutgoingEnd): void
}

/** Bytes of an answer that are waited for: less than clients buffer for an application that never reads. */
export const MOST_ANSWER = 32 * 1024

/** One request followed to its end, and then what was seen of it. One object and no closures: there is one for every call. */
export class ResponseTracker implements OutgoingEnd {
  readonly #follower: ResponseListener
  readonly #keepsGood: boolean
  readonly #toTheEnd: boolean
  #held: Buffer[] | undefined
  #firstChunkAtMs: number | undefined
  #bytes = 0
  #status: number | undefined
  #rawHeaders: unknown
  #readHeaders: ((raw: never) => ResponseHeaders) | undefined
  #error: unknown
  #isOver = false
  /** Pieces of the body come without the channel that describes them too. */
  isHeardDirectly = false

  constructor(follower: ResponseListener, { keepsGood = false, toTheEnd = false }: TrackOptions = {}) {
    this.#follower = follower
    this.#keepsGood = keepsGood
    this.#toTheEnd = toTheEnd
  }

  get status(): number | undefined {
    return this.#status
  }

  get headers(): ResponseHeaders | undefined {
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
  head<Raw>(status: number, raw: Raw, read: (raw: Raw) => ResponseHeaders): void {
    if (this.#isOver) return
    this.#status = status
    this.#rawHeaders = raw
    this.#readHeaders = read as (raw: never) => ResponseHeaders
    // The listener has nothing to do with a good one.
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

/** Keeps what a handler throws from a caller that calls it. */
export type Guard = <M>(handle: (message: M) => void) => (message: M) => void

/** Hears the answer as the parser hands it over; how, when and whether the application reads it stays its own affair. */
export function trackResponse(tracker: ResponseTracker, response: IncomingMessage, safely: Guard): void {
  tracker.head(response.statusCode ?? 0, response.headers, joined)
  const { push } = response
  const hear = safely((chunk: unknown) => {
    if (chunk === null) tracker.end()
    else if (chunk instanceof Uint8Array) tracker.chunk(chunk)
  })
  replaceMethod(response, 'push', function (this: IncomingMessage, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(push, this, given)
  })
  response.once(
    'close',
    safely(() => tracker.end(response.errored ?? undefined)),
  )
}

/** As `trackResponse`. The stream is heard without a listener, since Node counts them to know whether anybody reads. */
export function trackStream(tracker: ResponseTracker, stream: ClientHttp2Stream, safely: Guard): void {
  const { emit, push } = stream
  // A stream that fails ends first, and says why then.
  let isAnswered = false
  const hearEvent = safely(([name, given]: readonly unknown[]) => {
    if (name === 'response') {
      isAnswered = true
      const { ':status': status, ...headers } = given as IncomingHttpHeaders & { ':status'?: unknown }
      tracker.head(Number(status ?? 0), headers, joined)
    } else if (name === 'error') tracker.end(given)
    else if (name === 'close') tracker.end()
  })
  const hear = safely((chunk: unknown) => {
    if (chunk === null && isAnswered) tracker.end()
    else if (chunk instanceof Uint8Array) tracker.chunk(chunk)
  })
  replaceMethod(stream, 'emit', function (this: ClientHttp2Stream, ...given: unknown[]) {
    hearEvent(given)
    return Reflect.apply(emit, this, given)
  })
  replaceMethod(stream, 'push', function (this: ClientHttp2Stream, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(push, this, given)
  })
}

function joined(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
