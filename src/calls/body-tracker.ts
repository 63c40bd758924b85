import type { EventEmitter } from 'node:events'
import { errorMonitor } from 'node:events'
import type { UnderlyingSource } from 'node:stream/web'
import { replaceMethod } from '../tools/replace-method.ts'

/** What is reported of the body of an answer while the application reads it. */
export interface BodyObserver {
  /** The first piece has come. Comes once at most. */
  firstChunk(): void
  /** The body is over. Comes once at most, and never with `left`. @param error What broke it. */
  end(error?: unknown): void
  /** Its reader left before the end, or never read it. */
  left(): void
  /** Takes each piece as the application gets it: bytes, a text, or what its client parsed. Asked for once for each reader of the body. */
  reader(): (piece: unknown) => void
}

/** Methods that read all of a `Response`, and whether what they give shows the answer. */
const READERS = { json: true, text: true, arrayBuffer: true, bytes: true, blob: false, formData: false } as const
/** Fields in which clients put a stream: `body` of undici, `data` of axios. */
const STREAM_FIELDS = ['body', 'data'] as const

/** Bodies that the application drops without reading them to the end. */
const dropped = new FinalizationRegistry<Once>(once => once.left())

/**
 * Follows the body of what a provider call returned, while and as the application reads it. Nothing is read, held or copied for
 * it: the object stays the same one, and back-pressure is the application's. Known are a `Response`, a Node.js stream (by itself
 * or in the field `body` or `data`), the event streams of the OpenAI and Anthropic SDKs, the result of `streamText` and
 * `streamObject` of the AI SDK, and an async iterable.
 *
 * @returns `false` when the result has no body that can be followed: it is over with its head.
 */
export function trackBody(result: unknown, listener: BodyObserver): boolean {
  if (typeof result !== 'object' || result === null || !Object.isExtensible(result)) return false
  const branch = () => new TrackedBody(listener).branch()
  if (isResponse(result)) return result.body !== null && !result.bodyUsed && trackResponse(result, result.body, branch())
  const stream = isNodeStream(result) ? result : nodeStreamIn(result)
  if (stream) return !stream.readableEnded && trackNodeStream(stream, branch())
  if (isEventStream(result)) return trackEventStream(result, branch())
  if (isPartStream(result)) return trackPartStream(result, branch())
  return isAsyncIterable(result) && trackIterable(result, branch())
}

/** Passes on the first piece and the first end alone. */
class Once {
  readonly #listener: BodyObserver
  #hasBegun = false
  #isOver = false

  constructor(listener: BodyObserver) {
    this.#listener = listener
  }

  chunk(): void {
    if (this.#hasBegun || this.#isOver) return
    this.#hasBegun = true
    this.#listener.firstChunk()
  }

  end(error?: unknown): void {
    if (this.#close()) this.#listener.end(error)
  }

  left(): void {
    if (this.#close()) this.#listener.left()
  }

  #close(): boolean {
    const isFirst = !this.#isOver
    this.#isOver = true
    return isFirst
  }
}

/** A body as long as anything is there that it can be read by: everything that is put in place of the application's refers to it. */
class TrackedBody {
  readonly once: Once
  readonly #listener: BodyObserver
  /** Readers of the same body, of which one may leave while another reads on. */
  readers = 0

  constructor(listener: BodyObserver) {
    this.#listener = listener
    this.once = new Once(listener)
    dropped.register(this, this.once)
  }

  branch(): Branch {
    this.readers += 1
    return new Branch(this, this.#listener.reader())
  }
}

/** One way in which a body is read. */
class Branch {
  readonly #body: TrackedBody
  readonly #read: (piece: unknown) => void

  constructor(body: TrackedBody, read: (piece: unknown) => void) {
    this.#body = body
    this.#read = read
  }

  /** Another reader of the same body. */
  branch(): Branch {
    return this.#body.branch()
  }

  /** @param isAnswer Whether it shows something of the answer. */
  chunk(piece: unknown, isAnswer = true): void {
    this.#body.once.chunk()
    if (isAnswer) this.#read(piece)
  }

  end(error?: unknown): void {
    this.#body.once.end(error)
  }

  left(): void {
    if (this.#body.readers === 1) this.#body.once.left()
  }
}

type ResponseLike = Response & Record<keyof typeof READERS, unknown>

function isResponse(value: object): value is ResponseLike {
  const { body, arrayBuffer, headers } = value as Partial<Response>
  return (body === null || body instanceof ReadableStream) && typeof arrayBuffer === 'function' && headers !== undefined
}

function trackResponse(response: ResponseLike, body: ReadableStream<Uint8Array>, branch: Branch): boolean {
  for (const [name, isShown] of Object.entries(READERS)) {
    const read: unknown = response[name as keyof typeof READERS]
    if (typeof read === 'function') replaceMethod(response, name, trackedReader(response, read, branch, isShown))
  }
  const { clone } = response
  replaceMethod(response, 'clone', () => {
    const copy = Reflect.apply(clone, response, []) as ResponseLike
    if (copy.body) trackResponse(copy, copy.body, branch.branch())
    return copy
  })
  const nativeBody = () => (Reflect.get(Object.getPrototypeOf(response) as object, 'body', response) ?? body) as typeof body
  let tracked: ReadableStream<Uint8Array> | undefined
  let source: typeof body | undefined
  // Made for a caller that asks, and the body is locked by its first reading only: `if (response.body)` before `response.json()` works.
  // `clone` gives the response another body.
  const get = () => {
    const now = nativeBody()
    if (!tracked || source !== now) tracked = passing(now, branch, { type: 'bytes' })
    source = now
    return tracked
  }
  Object.defineProperty(response, 'body', { get, configurable: true })
  return true
}

type Callable = (...parameters: unknown[]) => unknown

function trackedReader(response: Response, read: unknown, branch: Branch, isShown: boolean) {
  return (...parameters: unknown[]): Promise<unknown> =>
    (Reflect.apply(read as Callable, response, parameters) as Promise<unknown>).then(
      value => {
        branch.chunk(value, isShown)
        branch.end()
        return value
      },
      (error: unknown) => {
        branch.end(error)
        throw error
      },
    )
}

type Controller<T> = Pick<ReadableStreamDefaultController<T>, 'enqueue' | 'close'> &
  Partial<Pick<ReadableByteStreamController, 'byobRequest'>>

/** The same pieces, read when they are asked for. */
function passing<T>(
  body: ReadableStream<T>,
  branch: Branch,
  { type, take = piece => branch.chunk(piece) }: { type?: 'bytes'; take?: (piece: T) => void },
): ReadableStream<T> {
  let reader: ReadableStreamDefaultReader<T> | undefined
  const source = {
    type,
    async pull(controller: Controller<T>) {
      reader ??= body.getReader()
      try {
        await pass(reader, controller, branch, take)
      } catch (error) {
        branch.end(error)
        throw error
      }
    },
    async cancel(reason: unknown) {
      branch.left()
      await (reader ? reader.cancel(reason) : body.cancel(reason))
    },
  }
  // A stream of bytes asks for nothing ahead unless it is set to.
  return new ReadableStream<T>(source as UnderlyingSource<T>, type === undefined ? { highWaterMark: 0 } : undefined)
}

async function pass<T>(reader: ReadableStreamDefaultReader<T>, to: Controller<T>, branch: Branch, take: (piece: T) => void): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) {
      branch.end()
      to.close()
      // A reader with a buffer of its own waits for its answer.
      to.byobRequest?.respond(0)
      return
    }
    // A stream of bytes takes no empty piece.
    if (value instanceof Uint8Array && value.byteLength === 0) continue
    take(value)
    to.enqueue(value)
    return
  }
}

interface NodeStream extends EventEmitter {
  push(chunk: unknown, encoding?: string): boolean
  readonly readableLength: number
  readonly readableEnded: boolean
  /** Of an answer: its request. */
  readonly req?: { readonly aborted?: boolean }
  destroy(error?: unknown): unknown
}

function isNodeStream(value: unknown): value is NodeStream {
  if (typeof value !== 'object' || value === null) return false
  const { push, pipe, once, readableLength } = value as Record<string, unknown>
  return typeof push === 'function' && typeof pipe === 'function' && typeof once === 'function' && typeof readableLength === 'number'
}

function nodeStreamIn(result: object): NodeStream | undefined {
  for (const name of STREAM_FIELDS) {
    const field = (result as Record<string, unknown>)[name]
    if (isNodeStream(field)) return field
  }
  return undefined
}

/** No listener for `data` or `readable`, which would make it flow, or for `error`, which would keep an error from the application. */
function trackNodeStream(stream: NodeStream, branch: Branch): boolean {
  if (stream.readableLength > 0) branch.chunk(undefined)
  const { push } = stream
  replaceMethod(stream, 'push', (chunk: unknown, encoding?: string) => {
    if (chunk !== null) branch.chunk(chunk)
    return Reflect.apply(push, stream, [chunk, encoding]) as boolean
  })
  const { destroy } = stream
  replaceMethod(stream, 'destroy', (error?: unknown) => {
    // Its reader leaves it. The error that an answer of node:http or axios emits then is of our side of the connection.
    if (error === undefined || error === null) branch.left()
    return Reflect.apply(destroy, stream, [error]) as unknown
  })
  stream.once('end', () => branch.end())
  // A loop over an answer of node:http that is left aborts its request, and the answer fails by that.
  stream.once(errorMonitor, (error: unknown) => (stream.req?.aborted === true ? branch.left() : branch.end(error)))
  stream.once('close', () => branch.left())
  return true
}

interface EventStream {
  _emit(event: string, ...parameters: unknown[]): unknown
}

/** What `stream()` of the OpenAI and Anthropic SDKs returns, which an application reads by listeners, by promises or as an iterable. */
function isEventStream(value: object): value is EventStream {
  const { _emit, on, aborted, ended } = value as Record<string, unknown>
  return typeof _emit === 'function' && typeof on === 'function' && aborted === false && ended === false
}

/** No listener: one for errors would keep them from the application, which else gets an unhandled rejection. */
function trackEventStream(stream: EventStream, branch: Branch): boolean {
  const emit = stream._emit
  replaceMethod(stream, '_emit', (event: string, ...parameters: unknown[]) => {
    if (event === 'error') branch.end(parameters[0])
    else if (event === 'abort') branch.left()
    else if (event === 'end') branch.end()
    // Each event of the wire comes under one of these, whatever is emitted of it in addition.
    else if (event === 'chunk' || event === 'streamEvent' || event === 'event') branch.chunk(parameters[0])
    return Reflect.apply(emit, stream, [event, ...parameters])
  })
  return true
}

interface Part {
  readonly type?: unknown
  readonly error?: unknown
}

interface PartStream {
  baseStream: ReadableStream<Part | { readonly part: Part }>
}

/** What `streamText` and `streamObject` of the AI SDK return. Its promises are left alone: to read one of them is to consume the stream. */
function isPartStream(value: object): value is PartStream {
  return Object.hasOwn(value, 'baseStream') && (value as Partial<PartStream>).baseStream instanceof ReadableStream
}

/** All that the application reads of it, by whichever property, comes out of one stream. */
function trackPartStream(result: PartStream, branch: Branch): boolean {
  const take = (piece: Part | { readonly part: Part }) => {
    const part = 'part' in piece ? piece.part : piece
    const type = typeof part.type === 'string' ? part.type : ''
    if (type === 'error') branch.end(part.error)
    else if (type === 'abort') branch.left()
    // What begins a stream and its steps comes before anything of the answer.
    else if (!type.startsWith('start')) branch.chunk(part)
  }
  result.baseStream = passing(result.baseStream, branch, { take })
  return true
}

type Iterated = AsyncIterable<unknown> & Partial<AsyncIterator<unknown>> & { iterator?: unknown; controller?: { signal?: AbortSignal } }

function isAsyncIterable(value: object): value is Iterated {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
}

function trackIterable(iterable: Iterated, branch: Branch): boolean {
  // A generator is its own iterator.
  if (typeof iterable.next === 'function') {
    trackIterator(iterable as AsyncIterator<unknown>, branch)
    return true
  }
  // The streams of the OpenAI and Anthropic SDKs are read by their `tee()` too, which calls `iterator()`.
  const name = typeof iterable.iterator === 'function' ? 'iterator' : Symbol.asyncIterator
  const iterate = (iterable as never as Record<typeof name, () => AsyncIterator<unknown>>)[name]
  // They end without an error where the application aborts them.
  const isGivenUp = () => iterable.controller?.signal?.aborted === true
  replaceMethod(iterable, name, () => trackIterator(Reflect.apply(iterate, iterable, []), branch, isGivenUp))
  return true
}

function trackIterator<T extends AsyncIterator<unknown>>(iterator: T, branch: Branch, isGivenUp = () => false): T {
  const { next } = iterator
  const leaving = { return: iterator.return, throw: iterator.throw }
  const tracked = async (...parameters: unknown[]) => {
    try {
      const result = (await Reflect.apply(next, iterator, parameters)) as IteratorResult<unknown>
      if (!result.done) branch.chunk(result.value)
      else if (isGivenUp()) branch.left()
      else branch.end()
      return result
    } catch (error) {
      branch.end(error)
      throw error
    }
  }
  replaceMethod(iterator, 'next', tracked)
  for (const [name, leave] of Object.entries(leaving)) {
    if (typeof leave !== 'function') continue
    const left = (...parameters: unknown[]) => {
      branch.left()
      return Reflect.apply(leave, iterator, parameters) as unknown
    }
    replaceMethod(iterator, name, left)
  }
  return iterator
}
