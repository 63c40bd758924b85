import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { ATTR_ATTEMPT_OUTCOME, ATTR_ERROR_TYPE, ATTR_HTTP_STATUS, ATTR_TIME_TO_FIRST_CHUNK } from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { afterwards } from '../support/clean-up.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

/** A provider that answers as `answer` says, and a Gatewatch whose spans can be looked at. */
async function world(answer: (response: ServerResponse) => void) {
  const server = createServer((_request, response) => answer(response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  afterwards(() => {
    server.closeAllConnections()
    server.close()
  })
  const watch = await startGatewatch({ environment: {} })
  atTheEnd(() => watch.close())
  const seen = observed(watch)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat/completions`
  return {
    url,
    ask: watch.wrapCall(async () => await fetch(url), { provider: 'corp' }),
    wrap: <R>(send: () => Promise<R>) => watch.wrapCall(send, { provider: 'corp' }),
    ends: () =>
      seen.spans('chat unknown').map(({ attributes }) => ({
        outcome: attributes[ATTR_ATTEMPT_OUTCOME],
        status: attributes[ATTR_HTTP_STATUS],
        error: attributes[ATTR_ERROR_TYPE],
        hasFirstChunk: typeof attributes[ATTR_TIME_TO_FIRST_CHUNK] === 'number',
      })),
  }
}

const WELL = { outcome: 'ok', status: 200, error: undefined, hasFirstChunk: true }
const LEFT = { ...WELL, outcome: 'aborted' }

/** A first piece, and the rest when `go` is called. */
function inTwoPieces() {
  const { promise, resolve: go } = Promise.withResolvers<void>()
  const answer = (response: ServerResponse) => {
    response.write('{"begins":')
    void promise.then(() => response.end('"ends"}'))
  }
  return { answer, go }
}

// Seen: a wrapped call ended at its headers, so that a stream of minutes was a call of milliseconds, and one that broke was a good
// one. Issue 3 of 6.
describe('a wrapped call ends with its body', () => {
  it('read at once', async () => {
    const { answer, go } = inTwoPieces()
    const w = await world(answer)
    const response = await w.ask()
    expect(w.ends()).toEqual([])
    expect(response).toBeInstanceOf(Response)
    expect(response.body?.locked).toBe(false)
    go()
    expect(await response.json()).toEqual({ begins: 'ends' })
    expect(w.ends()).toEqual([WELL])
  })

  it('read piece by piece', async () => {
    const { answer, go } = inTwoPieces()
    const w = await world(answer)
    const { body } = await w.ask()
    const pieces: string[] = []
    for await (const piece of body ?? []) {
      pieces.push(Buffer.from(piece as Uint8Array).toString())
      expect(w.ends()).toEqual([])
      go()
    }
    expect(pieces.join('')).toBe('{"begins":"ends"}')
    expect(w.ends()).toEqual([WELL])
  })

  it('read into a buffer of the reader', async () => {
    const w = await world(response => response.end('bytes'))
    const reader = (await w.ask()).body?.getReader({ mode: 'byob' })
    const first = await reader?.read(new Uint8Array(16))
    expect(Buffer.from(first?.value ?? []).toString()).toBe('bytes')
    expect((await reader?.read(new Uint8Array(16)))?.done).toBe(true)
    expect(w.ends()).toEqual([WELL])
  })

  it('left by its reader', async () => {
    const w = await world(inTwoPieces().answer)
    const reader = (await w.ask()).body?.getReader()
    await reader?.read()
    await reader?.cancel()
    expect(w.ends()).toEqual([LEFT])
  })

  it('broken by the provider', async () => {
    const w = await world(response => {
      response.write('{"begins":', () => response.destroy())
    })
    const response = await w.ask()
    await expect(response.text()).rejects.toThrow('terminated')
    expect(w.ends()).toEqual([{ ...WELL, outcome: 'server_error', error: 'UND_ERR_SOCKET', hasFirstChunk: false }])
  })

  it('not read faster than its reader reads', async () => {
    let written = 0
    const w = await world(response => {
      const source = new Readable({
        read() {
          written += 65_536
          this.push(written > 64 * 1_048_576 ? null : Buffer.alloc(65_536))
        },
      })
      source.pipe(response)
    })
    const reader = (await w.ask()).body?.getReader()
    await reader?.read()
    let before = 0
    const isStill = () => {
      const is = written === before
      before = written
      return is
    }
    await expect.poll(isStill).toBe(true)
    // What the sockets of both sides hold, and no more.
    expect(written).toBeLessThan(64 * 1_048_576)
    await reader?.cancel()
  })

  it('at once where there is none', async () => {
    const w = await world(response => response.writeHead(204).end())
    const response = await w.ask()
    expect(response.body).toBeNull()
    expect(w.ends()).toEqual([{ ...WELL, status: 204, hasFirstChunk: false }])
  })

  it('at its head where that is a refusal', async () => {
    const w = await world(response => response.writeHead(429).end('{}'))
    const response = await w.ask()
    expect(w.ends()).toEqual([{ outcome: 'rate_limit', status: 429, error: 'rate_limit', hasFirstChunk: false }])
    expect(await response.json()).toEqual({})
  })

  it('of undici, of node:http and of a client like axios', async () => {
    const w = await world(response => response.end('whole'))
    const { body } = await w.wrap(async () => await request(w.url))()
    const incoming = () => new Promise<IncomingMessage>((resolve, reject) => get(w.url, resolve).once('error', reject))
    const message = await w.wrap(incoming)()
    const { data } = await w.wrap(async () => ({ status: 200, data: await incoming() }))()
    expect(w.ends()).toEqual([])
    expect(await Promise.all([body.text(), text(message), text(data)])).toEqual(['whole', 'whole', 'whole'])
    await expect.poll(w.ends).toEqual([WELL, WELL, WELL])
  })

  // Seen: an answer of axios or node:http whose reader left counted as `server_error`. Why: Node emits ECONNRESET for it before `close`.
  it('of node:http and of a client like axios, left by its reader', async () => {
    const w = await world(response => void response.write('{"begins":'))
    const answerOf = () => new Promise<IncomingMessage>(resolve => get(w.url, resolve))
    const answer = await w.wrap(answerOf)()
    answer.once('error', () => undefined)
    for await (const _piece of answer) break
    const { data } = await w.wrap(async () => ({ status: 200, data: await answerOf() }))()
    data.once('error', () => undefined)
    await once(data, 'data')
    data.destroy()
    await once(data, 'close')
    expect(w.ends()).toEqual([LEFT, LEFT])
  })

  it('whose stream fails: the application gets the error, and nothing is swallowed', async () => {
    const w = await world(inTwoPieces().answer)
    const incoming = () => new Promise<IncomingMessage>((resolve, reject) => get(w.url, resolve).once('error', reject))
    const message = await w.wrap(incoming)()
    expect(message.listenerCount('error')).toBe(0)
    const failed = once(message, 'error')
    message.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
    expect(w.ends()).toMatchObject([{ outcome: 'server_error', error: 'ECONNRESET', status: 200 }])
  })
})

describe('a wrapped call that brings an async iterable', () => {
  const pieces = async function* (failure?: Error) {
    yield 'one'
    if (failure) throw failure
    yield 'two'
  }
  /** As the streams of the SDKs are: an object with more than the iterator. */
  class Chunks {
    [Symbol.asyncIterator]() {
      return pieces()
    }
    abort() {}
  }

  it('ends with it', async () => {
    const w = await world(() => undefined)
    const stream = await w.wrap(async () => new Chunks())()
    expect(stream).toBeInstanceOf(Chunks)
    const read: string[] = []
    for await (const piece of stream) read.push(piece)
    expect(read).toEqual(['one', 'two'])
    expect(w.ends()).toEqual([{ ...WELL, status: undefined }])
  })

  it('is aborted where its reader leaves, and fails where it fails', async () => {
    const w = await world(() => undefined)
    for await (const piece of await w.wrap(async () => pieces())()) {
      expect(piece).toBe('one')
      break
    }
    const failure = new Error('overloaded')
    const broken = await w.wrap(async () => pieces(failure))()
    expect(await broken.next()).toEqual({ done: false, value: 'one' })
    await expect(broken.next()).rejects.toBe(failure)
    expect(w.ends()).toEqual([
      { ...LEFT, status: undefined },
      { ...WELL, status: undefined, outcome: 'server_error', error: 'Error' },
    ])
  })

  it('that is frozen is returned unchanged', async () => {
    const w = await world(() => undefined)
    const frozen = Object.freeze(new Chunks())
    expect(await w.wrap(async () => frozen)()).toBe(frozen)
    expect(w.ends()).toHaveLength(1)
  })
})

describe('a promise with more methods', () => {
  /** As the SDKs have it: the body is read by `then`, not by `asResponse`. */
  class ApiPromise<T> extends Promise<T> {
    static reads = 0
    #response = new Response()
    static of<T>(response: Response): ApiPromise<T> {
      const promise = new ApiPromise<T>(() => undefined)
      promise.#response = response
      return promise
    }
    async asResponse(): Promise<Response> {
      return this.#response
    }
    async withResponse(): Promise<{ data: T; response: Response }> {
      return { data: await this, response: this.#response }
    }
    // biome-ignore lint/suspicious/noThenProperty: it is a promise.
    override then<A, B>(
      onResolved?: ((value: T) => A | PromiseLike<A>) | null,
      onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
    ) {
      ApiPromise.reads += 1
      return (this.#response.json() as Promise<T>).then(onResolved, onRejected)
    }
  }

  it('keeps them, and does its work only when it is asked to', async () => {
    const w = await world(response => response.end('{"id":"x"}'))
    const send = w.wrap(() => ApiPromise.of<{ id: string }>(Response.json({ id: 'x' }))) as unknown as () => ApiPromise<{ id: string }>
    ApiPromise.reads = 0
    const response = await send().asResponse()
    expect(ApiPromise.reads).toBe(0)
    expect(await response.text()).toBe('{"id":"x"}')
    expect((await send().withResponse()).data).toEqual({ id: 'x' })
    expect(await send()).toEqual({ id: 'x' })
    expect(send()).toBeInstanceOf(ApiPromise)
    expect(w.ends().map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok'])
  })
})
