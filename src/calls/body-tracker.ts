import type { EventEmitter } from 'node:events'
import { errorMonitor } from 'node:events'
import { replaceMethod } from '../tools/replace-method.ts'

/** What is reported of the body of an answer while the application reads it. Each comes once at most, and one of `end` and `left`. */
export interface BodyObserver {
  /** The first piece has come. */
  firstChunk(): void
  /** The body is over. @param error What broke it. */
  end(error?: unknown): void
  /** Its reader left before the end, or never read it. */
  left(): void
}

const READERS = ['json', 'text', 'arrayBuffer', 'bytes', 'blob', 'formData'] as const
/** Fields in which clients put a stream: `body` of undici, `data` of axios. */
const STREAM_FIELDS = ['body', 'data'] as const

/** Bodies that the application drops without reading them. */
const dropped = new FinalizationRegistry<Once>(once => once.left())

/**
 * Follows the body of what a provider call returned, while and as the application reads it. Nothing is read, held or copied for
 * it: the object stays the same one, and back-pressure is the application's. Known are a `Response`, a Node.js stream (by itself
 * or in the field `body` or `data`) and an async iterable.
 *
 * @returns `false` when the result has no body that can be followed: it is over with its head.
 */
export function trackBody(result: unknown, listener: BodyObserver): boolean {
  if (typeof result !== 'object' || result === null || !Object.isExtensible(result)) return false
  const once = new Once(listener)
  if (isResponse(result)) return result.body !== null && trackResponse(result, result.body, once)
  for (const candidate of [result, ...STREAM_FIELDS.map(name => (result as Record<string, unknown>)[name])])
    if (isNodeStream(candidate)) return trackNodeStream(candidate, once)
  return isAsyncIterable(result) && trackIterable(result, once)
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

type ResponseLike = Response & Record<(typeof READERS)[number], unknown>

function isResponse(value: object): value is ResponseLike {
  const { body, arrayBuffer, headers } = value as Partial<Response>
  return (body === null || body instanceof ReadableStream) && typeof arrayBuffer === 'function' && headers !== undefined
}

function trackResponse(response: ResponseLike, body: ReadableStream<Uint8Array>, once: Once): boolean {
  for (const name of READERS) {
    const read: unknown = response[name]
    if (typeof read !== 'function') continue
    const tracked = (...parameters: unknown[]): Promise<unknown> =>
      (Reflect.apply(read, response, parameters) as Promise<unknown>).then(
        value => {
          once.chunk()
          once.end()
          return value
        },
        (error: unknown) => {
          once.end(error)
          throw error
        },
      )
    replaceMethod(response, name, tracked)
  }
  let tracked: ReadableStream<Uint8Array> | undefined
  // Made for a caller that asks, and the body is locked by its first reading only: `if (response.body)` before `response.json()` works.
  Object.defineProperty(response, 'body', { get: () => (tracked ??= passing(body, once)), configurable: true })
  dropped.register(response, once)
  return true
}

/** The same bytes, read when they are asked for. */
function passing(body: ReadableStream<Uint8Array>, once: Once): ReadableStream<Uint8Array> {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  const passed = new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      reader ??= body.getReader()
      try {
        await pass(reader, controller, once)
      } catch (error) {
        once.end(error)
        throw error
      }
    },
    async cancel(reason) {
      once.left()
      await (reader ? reader.cancel(reason) : body.cancel(reason))
    },
  })
  dropped.register(passed, once)
  return passed
}

async function pass(reader: ReadableStreamDefaultReader<Uint8Array>, to: ReadableByteStreamController, once: Once): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) {
      once.end()
      to.close()
      // A reader with a buffer of its own waits for its answer.
      to.byobRequest?.respond(0)
      return
    }
    // A stream of bytes takes no empty piece.
    if (value.byteLength === 0) continue
    once.chunk()
    to.enqueue(value)
    return
  }
}

interface NodeStream extends EventEmitter {
  push(chunk: unknown, encoding?: string): boolean
  readonly readableLength: number
  readonly readableEnded: boolean
}

function isNodeStream(value: unknown): value is NodeStream {
  if (typeof value !== 'object' || value === null) return false
  const { push, pipe, once, readableLength } = value as Record<string, unknown>
  return typeof push === 'function' && typeof pipe === 'function' && typeof once === 'function' && typeof readableLength === 'number'
}

/** No listener for `data` or `readable`, which would make it flow, or for `error`, which would keep an error from the application. */
function trackNodeStream(stream: NodeStream, once: Once): boolean {
  if (stream.readableEnded) return false
  if (stream.readableLength > 0) once.chunk()
  const { push } = stream
  replaceMethod(stream, 'push', (chunk: unknown, encoding?: string) => {
    if (chunk !== null) once.chunk()
    return Reflect.apply(push, stream, [chunk, encoding]) as boolean
  })
  stream.once('end', () => once.end())
  stream.once(errorMonitor, (error: unknown) => once.end(error))
  stream.once('close', () => once.left())
  dropped.register(stream, once)
  return true
}

type Iterated = AsyncIterable<unknown> & Partial<AsyncIterator<unknown>>

function isAsyncIterable(value: object): value is Iterated {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
}

function trackIterable(iterable: Iterated, once: Once): boolean {
  const iterate = iterable[Symbol.asyncIterator]
  // A generator is its own iterator.
  if (typeof iterable.next === 'function') trackIterator(iterable as AsyncIterator<unknown>, once)
  else {
    const tracked = () => trackIterator(Reflect.apply(iterate, iterable, []), once)
    replaceMethod(iterable, Symbol.asyncIterator, tracked)
  }
  dropped.register(iterable, once)
  return true
}

function trackIterator<T extends AsyncIterator<unknown>>(iterator: T, once: Once): T {
  const { next } = iterator
  const leaving = { return: iterator.return, throw: iterator.throw }
  const tracked = async (...parameters: unknown[]) => {
    try {
      const result = (await Reflect.apply(next, iterator, parameters)) as IteratorResult<unknown>
      if (result.done) once.end()
      else once.chunk()
      return result
    } catch (error) {
      once.end(error)
      throw error
    }
  }
  replaceMethod(iterator, 'next', tracked)
  for (const [name, leave] of Object.entries(leaving)) {
    if (typeof leave !== 'function') continue
    const left = (...parameters: unknown[]) => {
      once.left()
      return Reflect.apply(leave, iterator, parameters) as unknown
    }
    replaceMethod(iterator, name, left)
  }
  return iterator
}
