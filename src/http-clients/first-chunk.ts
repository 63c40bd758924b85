import type { ClientRequest } from 'node:http'
import type { UndiciRequest } from './request-body.ts'

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
    request.write = write
    request.end = end
    if (typeof chunk === 'string') listener(Buffer.from(chunk))
    else if (chunk instanceof Uint8Array) listener(chunk)
  }
  request.write = function (this: ClientRequest, ...given: unknown[]) {
    hear(given)
    return Reflect.apply(write, this, given)
  } as typeof write
  request.end = function (this: ClientRequest, ...given: unknown[]) {
    hear(given)
    return Reflect.apply(end, this, given)
  } as typeof end
}

async function* overhearStart(body: AsyncIterable<unknown>, listener: FirstChunkListener): AsyncGenerator<unknown> {
  let isFirst = true
  for await (const chunk of body) {
    if (isFirst && chunk instanceof Uint8Array) listener(chunk)
    isFirst = false
    yield chunk
  }
}
