import type { ClientRequest } from 'node:http'

/** What `undici:request:create` publishes, as far as it is used. */
export interface UndiciRequest {
  readonly method: string
  readonly origin: string | URL
  readonly path: string
  body: unknown
}

const MOST_BYTES = 64 * 1024

/**
 * Hears an undici request's body without changing or delaying it. Strings and buffers are there already; a fetch body is
 * an async iterable, which is handed on chunk by chunk. Streams and multipart bodies are left alone.
 */
export function tapUndiciBody(request: UndiciRequest, heard: (body: string) => void): void {
  const { body } = request
  if (body === null || body === undefined) heard('')
  else if (typeof body === 'string') heard(body.slice(0, MOST_BYTES))
  else if (body instanceof Uint8Array)
    heard(Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, MOST_BYTES)).toString('utf8'))
  else if (isIterableBody(body)) request.body = overhear(body, heard)
}

/** Hears the body written to a `node:http` request, from `write` and `end`, which go on as they were. */
export function tapHttpBody(request: ClientRequest, heard: (body: string) => void): void {
  const held: Buffer[] = []
  let size = 0
  const { write, end } = request
  const keep = (chunk: unknown, encoding: unknown) => {
    if (size >= MOST_BYTES || (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))) return
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : Buffer.from(chunk)
    held.push(bytes)
    size += bytes.length
  }
  request.write = function (this: ClientRequest, ...given: unknown[]) {
    keep(given[0], given[1])
    return Reflect.apply(write, this, given)
  } as typeof write
  request.end = function (this: ClientRequest, ...given: unknown[]) {
    keep(given[0], given[1])
    request.write = write
    request.end = end
    heard(Buffer.concat(held).toString('utf8').slice(0, MOST_BYTES))
    return Reflect.apply(end, this, given)
  } as typeof end
}

function isIterableBody(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body && !('pipe' in body)
}

async function* overhear(body: AsyncIterable<Uint8Array>, heard: (body: string) => void): AsyncGenerator<Uint8Array> {
  const held: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    if (size < MOST_BYTES) {
      held.push(Buffer.from(chunk))
      size += chunk.byteLength
    }
    yield chunk
  }
  heard(Buffer.concat(held).toString('utf8').slice(0, MOST_BYTES))
}
