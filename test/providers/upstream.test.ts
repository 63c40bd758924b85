import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { readRefusedAnswer } from '../../src/providers/refused-answer.ts'
import type { AnswerHeaders, AnswerSink, CollectedBody, Flow, UpstreamError, UpstreamRequest } from '../../src/providers/upstream.ts'
import { Upstream, type UpstreamOptions } from '../../src/providers/upstream.ts'

const MIB = 1024 * 1024
const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Heard {
  status: number | undefined
  headers: AnswerHeaders
  chunks: Buffer[]
  collected: CollectedBody | undefined
  error: UpstreamError | undefined
  /** The calls of the sink, in order; runs of chunks count once. */
  story: string[]
}

/** A server, a transport to it, and a sink that writes down what it hears. */
async function world(listener: RequestListener, options: UpstreamOptions = {}) {
  const server = createServer(listener)
  const origin = await listen(server)
  const connections = { count: 0 }
  server.on('connection', () => connections.count++)
  const upstream = new Upstream(options)
  closers.push(() => upstream.close())
  return {
    origin,
    upstream,
    connections,
    send(request: Partial<UpstreamRequest> = {}, sink: Partial<AnswerSink> = {}) {
      const heard: Heard = { status: undefined, headers: {}, chunks: [], collected: undefined, error: undefined, story: [] }
      const { promise: over, resolve } = Promise.withResolvers<Heard>()
      const { promise: begun, resolve: begin } = Promise.withResolvers<Flow>()
      const note = (word: string) => heard.story.at(-1) !== word && heard.story.push(word)
      const flow = upstream.send(
        { origin, path: '/v1/x?y=1', method: 'POST', headers: { 'content-type': 'application/json' }, body: Buffer.from('{}'), ...request },
        {
          onHead(status, headers, headFlow) {
            note('head')
            Object.assign(heard, { status, headers })
            begin(headFlow)
            return sink.onHead?.(status, headers, headFlow) ?? 'stream'
          },
          onChunk(chunk) {
            note('chunk')
            heard.chunks.push(chunk)
            return sink.onChunk?.(chunk) ?? true
          },
          onEnd(collected) {
            note('end')
            heard.collected = collected
            sink.onEnd?.(collected)
            resolve(heard)
          },
          onError(error) {
            note('error')
            heard.error = error
            resolve(heard)
          },
        },
      )
      return { flow, over, begun, heard }
    },
  }
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function textOf(stream: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}

/** Waits until a number has stopped growing. */
async function steady(read: () => number): Promise<void> {
  for (let last = -1; last !== read() || last === 0; ) {
    last = read()
    await sleep(150)
  }
}

describe('an answer that comes', () => {
  it('streams chunk by chunk, after a request that arrived as it was given', async () => {
    const seen: string[] = []
    const w = await world(async (request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers['content-type']} ${await textOf(request)}`)
      response.writeHead(200, { 'content-type': 'text/event-stream', 'x-a': ['1', '2'] })
      response.write('data: 1\n\n')
      await sleep(20)
      response.end('data: 2\n\n')
    })
    const heard = await w.send().over
    expect(seen).toEqual(['POST /v1/x?y=1 application/json {}'])
    expect(heard.status).toBe(200)
    expect(heard.headers).toMatchObject({ 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
    expect(heard.chunks.map(String)).toEqual(['data: 1\n\n', 'data: 2\n\n'])
    expect(heard.story).toEqual(['head', 'chunk', 'end'])
  })

  it('is sent on a connection that is used again', async () => {
    const w = await world((_request, response) => response.end('ok'))
    for (let round = 0; round < 3; round++) {
      await w.send().over
      await nextTurn() // undici takes a connection back on the turn after its answer has ended
    }
    expect(w.connections.count).toBe(1)
  })

  it('is taken after 103, and without a body', async () => {
    const w = await world((_request, response) => {
      response.writeEarlyHints({ link: '</x>; rel=preload' })
      response.writeHead(204).end()
    })
    const heard = await w.send({ method: 'GET', body: undefined }).over
    expect(heard.status).toBe(204)
    expect(heard.story).toEqual(['head', 'end'])
  })

  it('passes through compressed', async () => {
    const w = await world((_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('hello')))
    const heard = await w.send().over
    expect(gunzipSync(Buffer.concat(heard.chunks)).toString()).toBe('hello')
  })

  it('holds the provider back while the sink is slow, and goes on where it stopped', async () => {
    const total = 96 * MIB
    let written = 0
    const w = await world(async (_request, response: ServerResponse) => {
      const block = Buffer.alloc(64 * 1024, 'x')
      while (written < total) {
        written += block.length
        if (!response.write(block)) await once(response, 'drain')
      }
      response.end()
    })
    let isSlow = true
    const { begun, over, heard } = w.send({}, { onChunk: () => !isSlow })
    const flow = await begun
    await steady(() => written)
    const received = heard.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    expect(heard.chunks).toHaveLength(1)
    // What is missing is in the buffers of two sockets, which are bounded.
    expect(written - received).toBeLessThan(32 * MIB)
    isSlow = false
    flow.resume()
    await over
    expect(heard.error).toBeUndefined()
    expect(heard.chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(total)
  })

  it('can be held back from the head on', async () => {
    const w = await world((_request, response) => response.end('hello'))
    const { begun, over, heard } = w.send(
      {},
      {
        onHead(_status, _headers, flow) {
          flow.pause()
          return 'stream'
        },
      },
    )
    const flow = await begun
    await sleep(30)
    expect(heard.story).toEqual(['head'])
    flow.resume()
    expect((await over).story).toEqual(['head', 'chunk', 'end'])
  })
})

describe('an answer that is collected', () => {
  const collect: Partial<AnswerSink> = { onHead: () => 'collect' }

  it('comes as a whole with the end', async () => {
    const w = await world((_request, response) => {
      response.writeHead(429, { 'retry-after': '1' }).write('{"error":')
      response.end('{}}')
    })
    const heard = await w.send({}, collect).over
    expect(heard.story).toEqual(['head', 'end'])
    expect(heard.collected).toEqual({ bytes: Buffer.from('{"error":{}}'), cut: false })
  })

  it('is cut where it gets long, and its connection with it', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    const w = await world((_request, response) => {
      response.on('close', resolve)
      response.writeHead(500).write('x'.repeat(300 * 1024)) // and it never ends
    })
    const heard = await w.send({}, collect).over
    await closed
    expect(heard.story).toEqual(['head', 'end'])
    expect(heard.collected).toMatchObject({ cut: true })
    expect(heard.collected?.bytes.length).toBe(64 * 1024)
  })

  it.each(['gzip', 'identity'])('is judged by its text when it came as %s, cut or not', async encoding => {
    const text = JSON.stringify({ error: { code: 'insufficient_quota', message: 'x'.repeat(2000) } })
    const bytes = encoding === 'gzip' ? gzipSync(text) : Buffer.from(text)
    const read = (part: Buffer) => readRefusedAnswer(429, { 'content-encoding': encoding }, part).body
    expect(read(bytes)).toBe(text)
    expect(read(bytes.subarray(0, bytes.length - 8))).toContain('insufficient_quota')
    expect(readRefusedAnswer(429, { 'content-encoding': 'gzip' }, Buffer.from('no gzip')).body).toBe('')
    expect(readRefusedAnswer(429, { 'content-encoding': 'gzip' }, gzipSync(Buffer.alloc(8 * MIB))).body).toBe('')
  })
})

describe('an answer that does not come', () => {
  it('says that nothing was sent when no server listens', async () => {
    const server = createServer()
    const origin = await listen(server)
    await new Promise(resolve => server.close(resolve))
    const w = await world(() => undefined)
    const { error, story } = await w.send({ origin }).over
    expect(story).toEqual(['error'])
    expect(error).toMatchObject({ code: 'GW_UPSTREAM', type: 'connect', sent: false, cause: { code: 'ECONNREFUSED' } })
  })

  it('says that nothing was sent when TLS cannot be agreed on', async () => {
    const w = await world(() => undefined)
    const { error } = await w.send({ origin: w.origin.replace('http:', 'https:') }).over
    expect(error).toMatchObject({ type: 'connect', sent: false })
  })

  it('says that nothing was sent when the request cannot be written', async () => {
    const w = await world(() => undefined)
    const { error } = await w.send({ headers: { 'x-a': 'line\nbreak' } }).over
    expect(error).toMatchObject({ type: 'connect', sent: false, cause: { code: 'UND_ERR_INVALID_ARG' } })
  })

  it.each(['before the head', 'within the body'])('is a reset when the connection breaks %s', async when => {
    const w = await world((request, response) => {
      if (when === 'within the body') response.writeHead(200, { 'content-length': 100 }).write('half')
      setImmediate(() => request.socket.destroy())
    })
    const { error, story } = await w.send().over
    expect(error).toMatchObject({ type: 'reset', sent: true })
    expect(story.at(-1)).toBe('error')
  })

  it('is a reset, and shows no byte of it, when the answer is not HTTP', async () => {
    const w = await world((request, _response) => request.socket.end('secret-4711 is not HTTP\r\n\r\n'))
    const { error } = await w.send().over
    expect(error).toMatchObject({ type: 'reset', sent: true })
    expect(JSON.stringify([error, error?.cause, Object.getOwnPropertyDescriptors(error?.cause)])).not.toContain('4711')
  })

  it('is a time-out when the head does not come', async () => {
    const w = await world(() => undefined, { headersTimeoutMs: 100 })
    expect((await w.send().over).error).toMatchObject({ type: 'timeout', sent: true })
  })

  it('is a time-out when the body falls silent, but not while the sink itself is slow', async () => {
    const w = await world((_request, response) => response.writeHead(200).write('first'), { bodyIdleMs: 100 })
    const slow = w.send({}, { onChunk: () => false })
    const silent = w.send()
    expect((await silent.over).error).toMatchObject({ type: 'timeout', sent: true })
    expect(slow.flow.isOver).toBe(false)
    slow.flow.abort()
    expect((await slow.over).error).toMatchObject({ type: 'aborted' })
  })
})

describe('giving a request up', () => {
  it('cuts the connection at once, calls the sink once, and is no error of the network', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    const w = await world((_request, response) => {
      response.on('close', resolve)
      response.writeHead(200).write('first')
    })
    const { flow, begun, heard } = w.send()
    await begun
    flow.abort(new Error('client has gone'))
    expect(heard.error).toMatchObject({ code: 'GW_ABORTED', type: 'aborted', sent: true, cause: { message: 'client has gone' } })
    flow.abort()
    await closed
    expect(heard.story.filter(word => word === 'error')).toHaveLength(1)
  })

  it('sends nothing when the signal had aborted before', async () => {
    let requests = 0
    const w = await world((_request, response) => {
      requests++
      response.end()
    })
    await w.send().over
    await nextTurn() // a connection is open and idle: what is dispatched now would be written at once
    const { over, heard } = w.send({ signal: AbortSignal.abort(new Error('late')) })
    expect(heard.story).toEqual([])
    expect((await over).error).toMatchObject({ type: 'aborted', sent: false, cause: { message: 'late' } })
    await w.send().over
    expect(requests).toBe(2)
  })

  it('hears a signal on the way, and forgets it afterwards', async () => {
    const w = await world((request, response) => {
      if (request.url === '/quick') response.end('ok')
    })
    const controller = new AbortController()
    const quick = w.send({ path: '/quick', signal: controller.signal })
    await quick.over
    const { over } = w.send({ signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 20)
    expect((await over).error).toMatchObject({ type: 'aborted', cause: { message: 'enough' } })
    expect(quick.heard.story).toEqual(['head', 'chunk', 'end'])
  })

  it('reports a sink that throws', async () => {
    const w = await world((_request, response) => response.end('ok'))
    const fail = () => {
      throw new Error('sink broke')
    }
    for (const broken of [{ onHead: fail }, { onChunk: fail }, { onEnd: fail }] satisfies Partial<AnswerSink>[]) {
      const { error } = await w.send({}, broken).over
      expect(error).toMatchObject({ type: 'aborted', sent: true, cause: { message: 'sink broke' } })
    }
  })

  it('ends what is under way when the transport is closed, and takes nothing more', async () => {
    const w = await world((_request, response) => response.writeHead(200).write('first'))
    const { begun, over } = w.send()
    await begun
    await w.upstream.close()
    expect((await over).error).toMatchObject({ type: 'aborted', sent: true })
    expect((await w.send().over).error).toMatchObject({ type: 'aborted', sent: false })
  })
})

it('loads undici only when something is sent: it would change what the global fetch of the host runs on', () => {
  const script = `
    await import('./src/providers/registry.ts')
    await import('./src/token-requests/token-endpoint.ts')
    const { Upstream } = await import('./src/providers/upstream.ts')
    const upstream = new Upstream()
    const dispatcher = () => Symbol.for('undici.globalDispatcher.1') in globalThis
    const before = dispatcher()
    upstream.send({ origin: 'http://127.0.0.1:9', path: '/', method: 'GET', headers: {}, body: undefined }, {
      onHead: () => 'collect', onChunk: () => true, onEnd() {}, onError() { process.stdout.write(before + ' ' + dispatcher()) },
    })`
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })
  expect(output).toBe('false true')
})
