import type { ClientRequest } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import { replaceMethod } from '../tools/replace-method.ts'

/** Notified of the first piece of a body, which for what clients send to providers mostly is all of it. */
export type FirstChunkListener = (piece: Uint8Array) => void

/** Hears the first piece of an undici request's body; fetch bodies are async iterables and are handed on as they are. */
export function onUndiciFirstChunk(request: UndiciRequest, listener: FirstChunkListener): void {
  const { body } = request
  if (body instanceof Uint8Array) listener(body)
  else if (typeof body === 'object' && body !== null && Symbol.asyncIterator in body && !('pipe' in body))
    request.body = overhearStart(body as AsyncIterable<unknown>, listener)
}

/** Hears the first piece that is written to a `node:http` request. */
export function onHttpFirstChunk(request: ClientRequest, listener: FirstChunkListener): void {
  const { write, end } = request
  const hear = ([chunk]: readonly unknown[]) => {
    // From here on the request is as it was.
    replaceMethod(request, 'write', write)
    replaceMethod(request, 'end', end)
    if (typeof chunk === 'string') listener(Buffer.from(chunk))
    else if (chunk instanceof Uint8Array) listener(chunk)
  }
  replaceMethod(request, 'write', function (this: ClientRequest, ...given: unknown[]) {
    hear(given)
    return Reflect.apply(write, this, given)
  })
  replaceMethod(request, 'end', function (this: ClientRequest, ...given: unknown[]) {
    hear(given)
    return Reflect.apply(end, this, given)
  })
}

async function* overhearStart(body: AsyncIterable<unknown>, listener: FirstChunkListener): AsyncGenerator<unknown> {
  let isFirst = true
  for await (const chunk of body) {
    if (isFirst && chunk instanceof Uint8Array) listener(chunk)
    isFirst = false
    yield chunk
  }
}

/** The part of what `undici:request:create` publishes that is used here. */
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

/** Reported once: the body as text, or `undefined` when it cannot be heard or is longer than any token request. */
export type BodyListener = (body: string | undefined) => void

/** Who decides, before a body is sent, whether it goes on. A body of which nothing shows a token request is not delayed. */
export interface BodyDecision {
  /** Whether what was heard so far is enough to decide; then the listener is called. */
  isEnough(heard: string): boolean
  /** Asked once the listener was called: the error with which the request fails in place of being sent. */
  refusal(): Error | undefined
}

/** Longer than any token request. */
const MOST_BYTES = 64 * 1024

/** What was heard of a body so far. Nothing thrown in here reaches the request. */
class Heard {
  readonly #listener: BodyListener
  readonly #held: Buffer[] = []
  #bytes = 0
  #isReported = false

  constructor(listener: BodyListener) {
    this.#listener = listener
  }

  /**
   * Takes a piece as it was written: a string in some encoding, or bytes. Whatever else it is, it is not for us.
   *
   * @returns Whether it counts; once the listener was called, no piece does.
   */
  piece(chunk: unknown, encoding?: unknown): boolean {
    if (this.#isReported || this.isTooLong) return false
    const bytes = bytesOf(chunk, encoding)
    if (!bytes) return false
    this.#bytes += bytes.byteLength
    if (this.isTooLong) this.#held.length = 0
    else this.#held.push(bytes)
    return true
  }

  get bytes(): number {
    return this.#bytes
  }

  get isTooLong(): boolean {
    return this.#bytes > MOST_BYTES
  }

  /** Nothing of it will be heard. */
  cannotHear(): void {
    this.#bytes = MOST_BYTES + 1
    this.report()
  }

  report(): void {
    if (this.#isReported) return
    this.#isReported = true
    this.#listener(this.isTooLong ? undefined : this.#text())
  }

  /** Decides now, where what was heard is enough for it. @returns Why the body must not go on. */
  decideSoFar(decision: BodyDecision | undefined): Error | undefined {
    if (!decision || this.#isReported || this.isTooLong || !decision.isEnough(this.#text())) return undefined
    return this.decide(decision)
  }

  /** Decides by all that was heard. @returns Why the body must not go on. */
  decide(decision: BodyDecision | undefined): Error | undefined {
    this.report()
    return decision?.refusal()
  }

  #text(): string {
    return Buffer.concat(this.#held).toString('utf8')
  }
}

/**
 * Observes the body of an undici request without changing or delaying it: bytes are complete; a fetch body is an async
 * iterable, which is passed on chunk by chunk; a Node stream is observed while it is filled, unless that has begun.
 *
 * @param decision Decides whether the body goes on. One that is declared to be as short as a token request waits until it is
 *   complete; any other goes on piece by piece, and is refused by the piece that shows what it is, or by its end.
 * @returns Reports what was heard so far, unless that was done.
 */
export function tapUndiciBody(request: UndiciRequest, listener: BodyListener, decision?: BodyDecision): () => void {
  const heard = new Heard(listener)
  const report = () => heard.report()
  const { body } = request
  if (isIterableBody(body)) request.body = heardPieces(body, heard, decision, decision !== undefined && isShort(request))
  else if (body === null || body === undefined || bytesOf(body)) {
    heard.piece(body)
    report()
  } else if (isForm(body)) {
    heard.piece(textOfForm(body))
    report()
  } else if (isBlob(body)) tapBlob(request, body, heard, decision)
  else if (isFreshStream(body)) tapPush(body, heard, decision)
  else heard.cannotHear()
  return report
}

/** A blob of undici's own `request` is read as a stream when its turn has come; of one that is decided about, that stream is judged. */
function tapBlob(request: UndiciRequest, body: Blob, heard: Heard, decision: BodyDecision | undefined): void {
  if (body.size > MOST_BYTES) {
    heard.cannotHear()
    return
  }
  if (decision) {
    const stream = () => heardPieces(body.stream(), heard, decision, true)
    request.body = Object.create(body, { stream: { value: stream } })
    return
  }
  body.text().then(
    text => {
      heard.piece(text)
      heard.report()
    },
    () => undefined,
  )
}

/** A Node stream of which nothing is buffered yet. */
function isFreshStream(body: unknown): body is Readable {
  const { push, readableLength } = (body ?? {}) as Partial<Readable>
  return typeof push === 'function' && readableLength === 0
}

function tapPush(body: Readable, heard: Heard, decision: BodyDecision | undefined): void {
  const { push } = body
  replaceMethod(body, 'push', function (this: Readable, ...given: unknown[]) {
    const isEnd = given[0] === null
    if (!isEnd) heard.piece(given[0], given[1])
    const error = isEnd ? heard.decide(decision) : heard.decideSoFar(decision)
    if (error) {
      this.destroy(error)
      return false
    }
    return Reflect.apply(push, this, given)
  })
}

/**
 * Hears the body written to a request of `node:http` or `node:http2`, from `write` and `end`, which go on as they were.
 *
 * @param declaredLength The `content-length` as it stands when the first piece is written.
 * @returns as `tapUndiciBody`, like the rest.
 */
export function tapHttpBody(
  request: Writable,
  listener: BodyListener,
  decision?: BodyDecision,
  declaredLength: () => number | undefined = () => undefined,
): () => void {
  const heard = new Heard(listener)
  const { write, end } = request
  const waiting: unknown[][] = []
  let missing: number | undefined
  const release = () => {
    for (const given of waiting.splice(0)) Reflect.apply(write, request, given)
  }
  replaceMethod(request, 'write', function (this: Writable, ...given: unknown[]) {
    const isHeard = heard.piece(given[0], given[1])
    missing ??= decision ? shortLength(declaredLength()) : 0
    if (isHeard && heard.bytes < missing) {
      waiting.push(acknowledged(given))
      return true
    }
    const error = missing > 0 ? heard.decide(decision) : heard.decideSoFar(decision)
    if (error) return refused(given, error)
    missing = 0
    release()
    return Reflect.apply(write, this, given)
  })
  replaceMethod(request, 'end', function (this: Writable, ...given: unknown[]) {
    heard.piece(given[0], given[1])
    const error = heard.decide(decision)
    if (error) {
      refused(given, error)
      return this
    }
    release()
    return Reflect.apply(end, this, given)
  })
  return () => heard.report()
}

/** A declared length for whose end a body can wait; 0 for one that cannot: it is unknown, or too long for a token request. */
function shortLength(declared: number | undefined): number {
  return declared !== undefined && declared <= MOST_BYTES ? declared : 0
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

/** A client that waits for its write learns from it that it failed, also where it does so before the request does. */
function refused(given: readonly unknown[], error: Error): true {
  const done = given.find(one => typeof one === 'function') as ((error: Error) => void) | undefined
  if (done) process.nextTick(done, error)
  return true
}

/** So short that it may be a token request, and complete in a moment. */
function isShort({ contentLength }: UndiciRequest): boolean {
  return typeof contentLength === 'number' && contentLength <= MOST_BYTES
}

/**
 * The pieces of a body, heard on their way.
 *
 * @param isHeld Holds them until all are there: undici writes nothing, not even headers over HTTP/1, before the first one comes.
 */
async function* heardPieces(
  body: AsyncIterable<unknown>,
  heard: Heard,
  decision: BodyDecision | undefined,
  isHeld: boolean,
): AsyncGenerator<unknown> {
  const held: unknown[] = []
  let error: Error | undefined
  for await (const piece of leftWithoutWaiting(body, () => error !== undefined)) {
    heard.piece(piece)
    if (isHeld && !heard.isTooLong) {
      held.push(piece)
      continue
    }
    error = heard.decideSoFar(decision)
    if (error) throw error
    yield* held.splice(0)
    yield piece
  }
  error = heard.decide(decision)
  if (error) throw error
  yield* held
}

/** A source that may take for ever to be given up, as the stream of a blob in Node 22 and 24 does: a refusal does not wait for it. */
function leftWithoutWaiting(body: AsyncIterable<unknown>, isRefused: () => boolean): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]: () => {
      const source = body[Symbol.asyncIterator]()
      const leave = async () => source.return?.()
      return {
        next: () => source.next(),
        return: async () => {
          const left = leave()
          if (isRefused()) left.catch(() => undefined)
          else await left
          return { done: true, value: undefined }
        },
      }
    },
  }
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

/** What a part that is a file reads as: its content is not read here. */
export const FILE_PART = Symbol('file')

/**
 * Reads the fields of a `multipart/form-data` body: a text field's value, `FILE_PART` for a file.
 *
 * @returns `undefined` when the body is something else.
 * @see RFC 7578
 */
export function readMultipart(body: string): Record<string, unknown> | undefined {
  const boundary = /^--[^\r\n]{1,70}(?=\r?\n)/.exec(body)?.[0]
  if (boundary === undefined) return undefined
  const fields: [string, unknown][] = []
  for (const part of body.split(boundary).slice(1)) {
    const [head, value] = splitPart(part)
    const name = /;\s{0,4}name="([^"\r\n]*)"/i.exec(head)?.[1]
    if (name !== undefined) fields.push([name, /;\s{0,4}filename[*]?=/i.test(head) ? FILE_PART : value])
  }
  return fields.length === 0 ? undefined : Object.fromEntries(fields)
}

/** Head and value of a part; the line break before the next boundary belongs to the boundary. */
function splitPart(part: string): [string, string] {
  const gap = /\r?\n\r?\n/.exec(part)
  if (!gap) return [part, '']
  return [part.slice(0, gap.index), part.slice(gap.index + gap[0].length).replace(/\r?\n$/, '')]
}
