import type { Readable, Writable } from 'node:stream'

/** What `undici:request:create` publishes, as far as it is used. */
export interface UndiciRequest {
  readonly method: string
  readonly origin: string | URL
  readonly path: string
  /** Names and values in turn, as the caller gave them; a value may be a list. */
  readonly headers?: unknown
  readonly contentType?: unknown
  readonly contentLength?: unknown
  body: unknown
}

/** Told once: the body as text, or `undefined` when it cannot be heard or is longer than any token request. */
export type BodyListener = (body: string | undefined) => void

/** Why a body that is held back must not go on, once it is told. */
export type Refusal = () => Error | undefined

/** Longer than any token request. */
export const MOST_BYTES = 64 * 1024

/** What was heard of a body so far. Nothing thrown in here reaches the request. */
class Heard {
  readonly #listener: BodyListener
  readonly #held: Buffer[] = []
  #bytes = 0
  #isTold = false

  constructor(listener: BodyListener) {
    this.#listener = listener
  }

  /** Takes a piece as it was written: a string in some encoding, or bytes. Whatever else it is, it is not for us. */
  piece(chunk: unknown, encoding?: unknown): void {
    if (this.#isTold || this.#bytes > MOST_BYTES) return
    const bytes = bytesOf(chunk, encoding)
    if (!bytes) return
    this.#bytes += bytes.byteLength
    if (this.#bytes <= MOST_BYTES) this.#held.push(bytes)
    else this.#held.length = 0
  }

  get isTooLong(): boolean {
    return this.#bytes > MOST_BYTES
  }

  tell(): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#listener(this.#bytes > MOST_BYTES ? undefined : Buffer.concat(this.#held).toString('utf8'))
  }
}

/**
 * Hears an undici request's body without changing or delaying it: bytes are there already; a fetch body is an async
 * iterable, which is handed on chunk by chunk. A Node stream is heard as it is filled, unless that has begun.
 *
 * @param refusal Holds an iterable of known length back until it is told; without one it is not delayed.
 * @returns Tells what was heard so far, if nothing was told yet.
 */
export function tapUndiciBody(request: UndiciRequest, listener: BodyListener, refusal?: Refusal): () => void {
  const heard = new Heard(listener)
  const tell = () => heard.tell()
  const { body } = request
  if (isIterableBody(body)) {
    request.body = refusal && isShort(request) ? holdBack(body, heard, refusal) : overhear(body, heard)
    return tell
  }
  if (body === null || body === undefined || bytesOf(body)) {
    heard.piece(body)
    tell()
  } else if (isForm(body)) listener(textOfForm(body))
  else if (isBlob(body)) {
    if (body.size > MOST_BYTES) listener(undefined)
    else
      body.text().then(
        text => {
          heard.piece(text)
          tell()
        },
        () => undefined,
      )
    return tell
  } else if (isFreshStream(body)) {
    tapPush(body, heard)
    return tell
  } else listener(undefined)
  return () => undefined
}

/** A Node stream of which nothing is buffered yet. */
function isFreshStream(body: unknown): body is Readable {
  const { push, readableLength } = (body ?? {}) as Partial<Readable>
  return typeof push === 'function' && readableLength === 0
}

function tapPush(body: Readable, heard: Heard): void {
  const { push } = body
  body.push = function (this: Readable, ...given: unknown[]) {
    if (given[0] === null) heard.tell()
    else heard.piece(given[0], given[1])
    return Reflect.apply(push, this, given)
  } as typeof push
}

/**
 * Hears the body written to a request of `node:http` or `node:http2`, from `write` and `end`, which go on as they were.
 *
 * @returns as `tapUndiciBody`.
 */
export function tapHttpBody(request: Writable, listener: BodyListener, refusal?: Refusal): () => void {
  const heard = new Heard(listener)
  const { write, end } = request
  let waiting: unknown[][] | undefined = refusal && []
  const release = () => {
    for (const given of waiting ?? []) Reflect.apply(write, request, given)
    waiting = undefined
  }
  request.write = function (this: Writable, ...given: unknown[]) {
    heard.piece(given[0], given[1])
    if (heard.isTooLong) release()
    if (!waiting) return Reflect.apply(write, this, given)
    waiting.push(acknowledged(given))
    return true
  } as typeof write
  request.end = function (this: Writable, ...given: unknown[]) {
    heard.piece(given[0], given[1])
    heard.tell()
    if (refusal?.()) return this
    release()
    return Reflect.apply(end, this, given)
  } as typeof end
  return () => heard.tell()
}

function isIterableBody(body: unknown): body is AsyncIterable<unknown> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body && !('pipe' in body)
}

/** By what they are called: undici has classes of its own. */
function isForm(body: unknown): body is FormData {
  return Object.prototype.toString.call(body) === '[object FormData]'
}

function isBlob(body: unknown): body is Blob {
  return /^\[object (?:Blob|File)\]$/.test(Object.prototype.toString.call(body))
}

/** Some clients write on, or end, only when a write is done: one that waits is done as far as they are concerned. */
function acknowledged(given: readonly unknown[]): unknown[] {
  const done = given.find(one => typeof one === 'function') as (() => void) | undefined
  if (done) process.nextTick(done)
  return given.filter(one => one !== done)
}

/** So short that it may be a token request, and complete in a moment. */
function isShort({ contentLength }: UndiciRequest): boolean {
  return typeof contentLength === 'number' && contentLength <= MOST_BYTES
}

/** undici writes nothing, not even headers over HTTP/1, before the first piece comes. */
async function* holdBack(body: AsyncIterable<unknown>, heard: Heard, refusal: Refusal): AsyncGenerator<unknown> {
  const pieces: unknown[] = []
  for await (const piece of body) {
    heard.piece(piece)
    pieces.push(piece)
  }
  heard.tell()
  const error = refusal()
  if (error) throw error
  yield* pieces
}

async function* overhear(body: AsyncIterable<unknown>, heard: Heard): AsyncGenerator<unknown> {
  for await (const chunk of body) {
    heard.piece(chunk)
    yield chunk
  }
  heard.tell()
}

function bytesOf(chunk: unknown, encoding?: unknown): Buffer | undefined {
  if (typeof chunk === 'string') {
    const known = typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8'
    return chunk.length > MOST_BYTES * 2 ? Buffer.alloc(MOST_BYTES + 1) : Buffer.from(chunk, known)
  }
  // A copy: the bytes are the application's, which may use them again before they are read here.
  return chunk instanceof Uint8Array ? Buffer.from(chunk.subarray(0, MOST_BYTES + 1)) : undefined
}

/** A form that undici encodes later, in the shape of one: names and text values as they are, files as nothing. */
function textOfForm(form: FormData): string {
  const boundary = '--form'
  const parts = Array.from(form, ([name, value]) => {
    const isText = typeof value === 'string'
    return `${boundary}\r\ncontent-disposition: form-data; name="${name}"${isText ? '' : '; filename=""'}\r\n\r\n${isText ? value : ''}\r\n`
  })
  return parts.join('') + boundary
}
