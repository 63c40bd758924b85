import diagnostics from 'node:diagnostics_channel'
import http from 'node:http'
import { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { Pool, fetch as undiciFetch, request as undiciRequest, stream as undiciStream } from 'undici'
import { describe, expect, it } from 'vitest'
import { watchOutgoing } from '../../src/http-clients/outgoing.ts'
import type { OutgoingRequest } from '../../src/http-clients/outgoing-request.ts'
import { DEAD_URL, onClose, startServer, until, watchPosts } from '../watch/world.ts'

const FORM = 'grant_type=refresh_token&refresh_token=rt_1'

/** A request as an application makes it; `ends` is what was awaited of it. */
type Client = (url: string) => Promise<unknown>

const FETCHES: Record<string, Client> = {
  'fetch of a string': url => send(url, { body: FORM }),
  'fetch of URLSearchParams': url => send(url, { body: new URLSearchParams(FORM) }),
  'fetch of a Blob': url => send(url, { body: new Blob([FORM]) }),
  'fetch of bytes': url => send(url, { body: new TextEncoder().encode(FORM) }),
  'fetch of a Request': async url => (await fetch(new Request(url, { method: 'POST', body: FORM }))).text(),
  'fetch of a stream': url => send(url, { body: new Blob([FORM]).stream(), duplex: 'half' }),
  "undici's own fetch": async url => (await undiciFetch(url, { method: 'POST', body: FORM })).text(),
  'undici request of a string': url => request(url, FORM),
  'undici request of bytes': url => request(url, Buffer.from(FORM)),
  'undici request of a Blob': url => request(url, new Blob([FORM]) as unknown as string),
  'undici request of an iterable': url => request(url, Readable.toWeb(Readable.from([Buffer.from(FORM)])) as unknown as string),
  'undici stream': url => undiciStream(url, { method: 'POST', body: FORM }, () => new Sink()),
  'node:http, written at once': url => httpPost(url, outgoing => outgoing.end(FORM)),
  'node:http, written in pieces': url =>
    httpPost(url, outgoing => {
      outgoing.write(FORM.slice(0, 5))
      outgoing.write(Buffer.from(FORM.slice(5, 9)))
      outgoing.write(Buffer.from(FORM.slice(9, 12)).toString('base64'), 'base64')
      outgoing.end(FORM.slice(12), 'latin1', () => undefined)
    }),
  'node:http, piped': url => httpPost(url, outgoing => void Readable.from([FORM.slice(0, 9), FORM.slice(9)]).pipe(outgoing)),
  'node:http with headers in a row': url =>
    httpPost(url, outgoing => outgoing.end(FORM), { headers: ['Host', new URL(url).host, 'X-Kept', 'yes'] as unknown as string[] }),
}

// Seen: an application that logged `{ ...response }` or listed the fields of a request got our replaced methods with them.
it('what an application lists of requests and answers of node:http are its own fields', async () => {
  const { url } = await startServer()
  const listing = () =>
    new Promise<string[]>((resolve, reject) => {
      const outgoing = http.request(`${url}/token`, { method: 'POST' }, response =>
        response.resume().once('end', () => resolve([...Object.keys(response).sort(), ...Object.keys(outgoing).sort()])),
      )
      outgoing.once('error', reject).end(FORM)
    })
  const unwatched = await listing()
  watchPosts()
  expect(await listing()).toEqual(unwatched)
})

describe('an outgoing request is seen, heard and followed to its end', () => {
  it.each(Object.entries(FETCHES))('%s', async (_name, client) => {
    const { url, received } = await startServer()
    const { seen, faults } = watchPosts()
    await client(`${url}/token?a=1`)
    await until(() => seen[0]?.end !== undefined)
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({ method: 'POST', url: `${url}/token?a=1`, body: FORM, reported: ['body', 'end'], end: { status: 200 } })
    expect(seen[0]?.end?.error).toBeUndefined()
    expect(received.map(({ body }) => body.toString())).toEqual([FORM])
    expect(faults).toEqual([])
  })

  it('a form, by fetch and by undici', async () => {
    const { url, received } = await startServer()
    const { seen } = watchPosts()
    for (const file of ['file content', undefined]) {
      const form = new FormData()
      form.set('grant_type', 'refresh_token')
      if (file) form.set('assertion', new Blob([file]), 'a.txt')
      await send(url, { body: form })
    }
    // undici's request hangs on forms that hold files, and on undici's own forms, watched or not.
    const form = new FormData()
    form.set('grant_type', 'refresh_token')
    await request(url, form as unknown as string)
    await until(() => seen.every(({ end }) => end))
    for (const { body } of seen) expect(body).toMatch(/name="grant_type"\r\n\r\nrefresh_token\r\n/)
    expect(received.map(({ body }) => body.includes('refresh_token'))).toEqual([true, true, true])
    expect(received[0]?.body.toString()).toContain('file content')
  })

  it('a Node stream in undici is heard as it fills; one that has begun is left alone, and said to be unheard', async () => {
    const { url, received } = await startServer()
    const { seen } = watchPosts()
    const begun = new Readable({ read: () => undefined })
    begun.push(FORM.slice(0, 9))
    for (const body of [Readable.from([Buffer.from(FORM)]), begun]) {
      const sent = request(url, body as unknown as string)
      if (body === begun) [FORM.slice(9), null].forEach(piece => void begun.push(piece))
      await sent
    }
    await until(() => seen[1]?.end !== undefined)
    expect(seen.map(({ body }) => body)).toEqual([FORM, undefined])
    expect(seen.map(({ reported }) => reported)).toEqual([
      ['body', 'end'],
      ['body', 'end'],
    ])
    expect(received.map(({ body }) => body.toString())).toEqual([FORM, FORM])
  })

  it('a body longer than any token request is sent whole and heard not at all', async () => {
    const { url, received } = await startServer()
    const { seen, faults } = watchPosts()
    const huge = Buffer.alloc(1024 * 1024, 'x')
    await send(url, { body: huge })
    await send(url, { body: new Blob([huge]) })
    await request(url, huge.toString())
    await httpPost(url, outgoing => {
      outgoing.write(huge.subarray(0, 300_000))
      outgoing.end(huge.subarray(300_000))
    })
    await until(() => seen.every(({ end }) => end))
    expect(seen.map(({ body }) => body)).toEqual([undefined, undefined, undefined, undefined])
    for (const { body } of received) expect(body.equals(huge)).toBe(true)
    expect(faults).toEqual([])
  })

  it('a refusal with the start of its body, compressed or not', async () => {
    const refusal = JSON.stringify({ error: { code: 'refresh_token_reused' } })
    const { url } = await startServer((response, { headers }) => {
      const zip = headers['x-zip'] === 'yes'
      response.writeHead(401, { 'content-type': 'application/json', ...(zip && { 'content-encoding': 'gzip' }) })
      response.end(zip ? gzipSync(refusal) : refusal)
    })
    const { seen } = watchPosts()
    await send(url, { body: FORM })
    await request(url, FORM)
    await httpPost(url, outgoing => outgoing.end(FORM))
    await send(url, { body: FORM, headers: { 'x-zip': 'yes' } })
    await until(() => seen.every(({ end }) => end))
    expect(seen.map(({ end }) => end?.status)).toEqual([401, 401, 401, 401])
    expect(seen.slice(0, 3).map(({ end }) => end?.body)).toEqual([refusal, refusal, refusal])
    expect(seen[3]?.end?.headers).toMatchObject({ 'content-encoding': 'gzip' })
  })

  it('the body of a good answer is not kept: it holds tokens', async () => {
    const { url } = await startServer()
    const { seen } = watchPosts()
    await send(url, { body: FORM })
    await httpPost(url, outgoing => outgoing.end(FORM))
    await until(() => seen.every(({ end }) => end))
    expect(seen.map(({ end }) => end?.body)).toEqual([undefined, undefined])
  })

  it('an answer no caller reads ends all the same, however long it is', async () => {
    const { url } = await startServer(response => void response.writeHead(502, { 'content-type': 'text/html' }).end('x'.repeat(2_000_000)))
    const { seen } = watchPosts()
    const answers = [await fetch(url, { method: 'POST', body: FORM }), await undiciRequest(url, { method: 'POST', body: FORM })]
    await new Promise<void>(resolve => http.request(url, { method: 'POST' }, () => resolve()).end(FORM))
    await until(() => seen.every(({ end }) => end))
    expect(seen.map(({ end }) => end?.status)).toEqual([502, 502, 502])
    for (const { end } of seen) expect(end?.body?.length).toBe(32 * 1024)
    expect(answers).toHaveLength(2)
  })

  it('an answer that comes before the request is complete', async () => {
    const { url, server } = await startServer()
    server.removeAllListeners('request')
    server.on('request', (_request, response) => response.writeHead(401).end('early'))
    const { seen } = watchPosts()
    await new Promise<void>(resolve => {
      const outgoing = http.request(url, { method: 'POST' }, answer => answer.resume().on('end', resolve))
      outgoing.on('error', () => undefined)
      outgoing.write(FORM)
      onClose(() => outgoing.destroy())
    })
    expect(seen[0]).toMatchObject({ body: FORM, reported: ['body', 'end'], end: { status: 401, body: 'early' } })
  })

  it('a request of two is followed beside the other', async () => {
    const { url } = await startServer((response, { body }) => void response.writeHead(Number(body.toString())).end())
    const { seen } = watchPosts()
    await Promise.all(['401', '200', '503', '429'].map(status => send(url, { body: status })))
    await until(() => seen.every(({ end }) => end))
    expect(seen.map(({ body, end }) => [body, String(end?.status)])).toEqual(['401', '200', '503', '429'].map(status => [status, status]))
  })

  it('requests that wait for the one connection of a Pool', async () => {
    const { url } = await startServer()
    const { seen, faults } = watchPosts()
    const pool = new Pool(url, { connections: 1 })
    onClose(() => pool.close())
    const bodies = Array.from({ length: 8 }, (_, index) => `refresh_token=rt_${index}`)
    await Promise.all(bodies.map(async body => (await pool.request({ path: '/token', method: 'POST', body })).body.text()))
    expect(seen.map(({ body }) => body)).toEqual(bodies)
    expect(seen.every(({ url: to, end }) => to === `${url}/token` && end?.status === 200)).toBe(true)
    expect(faults).toEqual([])
  })
})

describe('a request that fails', () => {
  it('ends with the error of the client', async () => {
    const { server, url } = await startServer()
    server.removeAllListeners('request')
    server.on('request', incoming => incoming.socket.resetAndDestroy())
    const { seen } = watchPosts()
    await expect(send(url, { body: FORM })).rejects.toThrow('fetch failed')
    await expect(request(url, FORM)).rejects.toThrow()
    await expect(httpPost(url, outgoing => outgoing.end(FORM))).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(seen.map(({ end }) => [end?.status, end?.error instanceof Error])).toEqual(Array(3).fill([undefined, true]))
  })

  it('ends where no server listens', async () => {
    const { seen } = watchPosts()
    await expect(send(DEAD_URL, { body: FORM })).rejects.toThrow()
    await expect(httpPost(DEAD_URL, outgoing => outgoing.end(FORM))).rejects.toThrow()
    await until(() => seen.length === 2 && seen.every(({ end }) => end))
    for (const { end } of seen) expect(end?.error).toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('ends when the application gives it up', async () => {
    const { server, url } = await startServer()
    server.removeAllListeners('request')
    const { seen } = watchPosts()
    const gone = new AbortController()
    const fetched = send(url, { body: FORM, signal: gone.signal })
    const asked = httpPost(url, outgoing => outgoing.end(FORM), { signal: gone.signal })
    await until(() => seen.length === 2)
    gone.abort()
    await expect(fetched).rejects.toMatchObject({ name: 'AbortError' })
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
    await until(() => seen.every(({ end }) => end))
    for (const { end } of seen) expect(end?.status).toBeUndefined()
  })

  it('ends when the answer breaks off, with the status that was seen', async () => {
    const { url } = await startServer(response => {
      response.writeHead(400, { 'content-length': '100' })
      response.write('begun', () => response.destroy())
    })
    const { seen } = watchPosts()
    await expect(send(url, { body: FORM })).rejects.toThrow()
    await expect(httpPost(url, outgoing => outgoing.end(FORM))).rejects.toThrow()
    await until(() => seen.every(({ end }) => end))
    for (const { end } of seen) expect(end).toMatchObject({ status: 400, body: 'begun', error: expect.any(Error) })
  })
})

describe('the application', () => {
  it('sends every chunk when it is there, watched or not', async () => {
    const { url, received } = await startServer()
    watchPosts()
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const writer = writable.getWriter()
    const answer = send(url, { body: readable, duplex: 'half' })
    const arrived: string[] = []
    const listening = new Promise<void>(resolve => {
      diagnostics.subscribe('undici:request:bodyChunkSent', onChunk)
      onClose(() => diagnostics.unsubscribe('undici:request:bodyChunkSent', onChunk))
      function onChunk(message: unknown): void {
        arrived.push(String((message as { chunk: Buffer }).chunk))
        resolve()
      }
    })
    await writer.write(Buffer.from('first'))
    await listening
    expect(arrived).toEqual(['first'])
    await writer.write(Buffer.from('second'))
    await writer.close()
    await answer
    expect(received[0]?.body.toString()).toBe('firstsecond')
    expect(received[0]?.headers['transfer-encoding']).toBe('chunked')
  })

  it('sends the same headers, watched or not', async () => {
    const { url, received } = await startServer()
    const sendAll = async () => {
      for (const client of Object.values(FETCHES)) await client(url)
      return received.splice(0).map(({ headers, body }) => ({ headers, body: body.toString() }))
    }
    const unwatched = await sendAll()
    watchPosts()
    expect(await sendAll()).toEqual(unwatched)
  })

  it('gets the error of its own broken body', async () => {
    const { url } = await startServer()
    const { seen, faults } = watchPosts()
    const broken = () =>
      new ReadableStream({
        start: controller => controller.enqueue(Buffer.from('begun')),
        pull: controller => controller.error(new RangeError('the application stumbled')),
      })
    await expect(send(url, { body: broken(), duplex: 'half' })).rejects.toMatchObject({ cause: { message: 'the application stumbled' } })
    await expect(request(url, broken() as unknown as string)).rejects.toThrow('the application stumbled')
    expect(() =>
      http
        .request(url, { method: 'POST' })
        .on('error', () => undefined)
        .write(7 as unknown as string),
    ).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }))
    await until(() => seen.slice(0, 2).every(({ end }) => end))
    expect(faults).toEqual([])
  })

  it('never hears of a fault of the watch', async () => {
    const { url, received } = await startServer()
    const faults: unknown[] = []
    const fail = (where: string) => () => {
      throw new TypeError(where)
    }
    const watchWith = (listener: (outgoing: OutgoingRequest) => void) =>
      onClose(
        watchOutgoing({
          wanted: method => method === 'POST',
          listener,
          onFault: fault => {
            faults.push((fault as Error).message)
            throw new Error('who watches the watch?')
          },
        }),
      )
    watchWith(fail('listener'))
    watchWith(request => {
      request.onBody(fail('body'))
      request.onEnd(fail('end'))
    })
    for (const client of Object.values(FETCHES)) await client(url)
    const clients = Object.keys(FETCHES).length
    await until(() => faults.length === clients * 3)
    expect(new Set(faults)).toEqual(new Set(['listener', 'body', 'end']))
    expect(received.map(({ body }) => body.toString())).toEqual(Array(clients).fill(FORM))
  })

  it('is not touched where nothing is wanted', async () => {
    const { url } = await startServer()
    const asked: string[] = []
    onClose(
      watchOutgoing({
        wanted: (method, path) => {
          asked.push(`${method} ${path}`)
          return false
        },
        listener: () => expect.unreachable(),
        onFault: () => expect.unreachable(),
      }),
    )
    const bodies: unknown[] = []
    const onCreate = (message: unknown) => bodies.push((message as { request: { body: unknown } }).request.body)
    diagnostics.subscribe('undici:request:create', onCreate)
    onClose(() => diagnostics.unsubscribe('undici:request:create', onCreate))
    const body = Buffer.from(FORM)
    await request(`${url}/other`, body)
    expect(bodies[0]).toBe(body)
    const outgoing = http.request(`${url}/other`, { method: 'POST' })
    expect(Object.hasOwn(outgoing, 'write') || Object.hasOwn(outgoing, 'end')).toBe(false)
    await new Promise<void>(resolve => void outgoing.on('response', answer => answer.resume().on('end', resolve)).end(FORM))
    expect(asked).toEqual(['POST /other', 'POST /other'])
  })

  it('is left in peace when the watch stops', async () => {
    const { url } = await startServer()
    const { seen, stop } = watchPosts()
    await send(url, { body: FORM })
    stop()
    for (const client of Object.values(FETCHES)) await client(url)
    expect(seen).toHaveLength(1)
    expect(diagnostics.hasSubscribers('http.client.request.created')).toBe(false)
  })
})

async function send(url: string, options: RequestInit & { duplex?: 'half' }): Promise<string> {
  return (await fetch(url, { method: 'POST', ...options })).text()
}

async function request(url: string, body: string | Buffer): Promise<string> {
  return (await undiciRequest(url, { method: 'POST', body })).body.text()
}

function httpPost(url: string, write: (outgoing: http.ClientRequest) => void, options: http.RequestOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(url, { method: 'POST', ...options }, answer => text(answer).then(resolve, reject))
    outgoing.on('error', reject)
    write(outgoing)
  })
}

/** Takes everything and keeps nothing. */
class Sink extends Writable {
  override _write(_chunk: unknown, _encoding: unknown, done: () => void): void {
    done()
  }
}
