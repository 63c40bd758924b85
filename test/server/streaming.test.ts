import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ATTR_ATTEMPT_OUTCOME } from '../../otel/semconv.ts'
import {
  ANTHROPIC_KEY,
  ANTHROPIC_PROFILE,
  atTheEnd,
  eventually,
  gatewayWorld,
  OPENAI_KEY,
  OPENAI_PROFILE,
  posted,
  providerOf,
} from '../support/gateway-world.ts'
import { rawAnswer } from '../support/raw-request.ts'

const CHAT = '/v1/chat/completions'
const BODY = JSON.stringify({ model: 'gpt-5.5', stream: true, messages: [] })

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer())
}

/** Waits until `measure` gives the same number for a while; what it gives then. */
async function settled(measure: () => number): Promise<number> {
  let before = -1
  for (let same = 0; same < 10; ) {
    await pause(30)
    const now = measure()
    same = now === before ? same + 1 : 0
    before = now
  }
  return before
}

/** A gateway in front of a provider that is written by the test. */
async function inFrontOf(answer: (response: ServerResponse) => void, options: Parameters<typeof gatewayWorld>[0] = {}) {
  const baseUrl = await providerOf((_request, response) => answer(response))
  return gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } }, ...options })
}

describe('an answer passes through', () => {
  const message = { model: 'claude-sonnet-5', max_tokens: 50, messages: [{ role: 'user', content: 'hé🙂' }] }
  const bearer = { authorization: `Bearer ${OPENAI_KEY}` }
  it.each([
    ['chat completions', CHAT, '/v1/chat/completions', { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hé🙂' }] }, bearer],
    ['responses', '/v1/responses', '/v1/responses', { model: 'gpt-5.5', input: 'hé🙂' }, bearer],
    ['messages', '/v1/messages', '/anthropic/v1/messages', message, { 'x-api-key': ANTHROPIC_KEY }],
  ])('byte for byte: %s, streamed and not', async (_what, path, directPath, body, headers) => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, ...ANTHROPIC_PROFILE } })
    for (const stream of [false, true]) {
      const request = posted({ ...body, stream })
      const direct = await fetch(w.simulator.url + directPath, { ...request, headers: { ...headers, 'content-type': 'application/json' } })
      const through = await fetch(w.url + path, request)
      expect(through.status).toBe(direct.status)
      expect(through.headers.get('content-type')).toBe(direct.headers.get('content-type'))
      expect(await bytesOf(through)).toEqual(await bytesOf(direct))
    }
  })

  it('chunk by chunk: each reaches the client before the provider sends the next one', async () => {
    let send: ServerResponse | undefined
    const w = await inFrontOf(response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      send = response
    })
    const response = await fetch(w.url + CHAT, posted(BODY))
    const reader = response.body?.getReader()
    // An event may come in pieces, cut in the middle of a character; none waits for another.
    const pieces = [
      Buffer.from('data: {"a":'),
      Buffer.from('"é"}\n\nda').subarray(0, 2),
      Buffer.from('"é"}\n\nda').subarray(2),
      Buffer.from('ta: [DONE]\n\n'),
    ]
    for (const piece of pieces) {
      send?.write(piece)
      expect(Buffer.from((await reader?.read())?.value ?? [])).toEqual(piece)
    }
    send?.end()
    expect(await reader?.read()).toMatchObject({ done: true })
  })

  it('with its head as soon as that is there, long before the first event', async () => {
    let send: ServerResponse | undefined
    const w = await inFrontOf(response => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'x-ratelimit-remaining': '7' })
      response.flushHeaders()
      send = response
    })
    const response = await fetch(w.url + CHAT, posted(BODY))
    expect(response.headers.get('x-ratelimit-remaining')).toBe('7')
    expect(response.headers.get('x-gatewatch-profile')).toBe('openai:default')
    send?.end()
    expect(await response.text()).toBe('')
  })

  it('with its own length when it has one, and compressed as it came', async () => {
    const body = Buffer.from('not really gzip')
    const w = await inFrontOf(response => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'x-mine', 'content-length': body.length })
      response.end(body)
    })
    const response = await rawAnswer(w.url + CHAT, { method: 'POST', body: BODY })
    expect(response.headers).toMatchObject({ 'content-length': String(body.length), 'content-encoding': 'x-mine' })
    expect(Buffer.concat(await response.toArray())).toEqual(body)
  })

  it('empty, when it is empty', async () => {
    const w = await inFrontOf(response => response.writeHead(200, { 'content-length': 0 }).end())
    const answer = await w.post(CHAT, BODY)
    expect(answer).toMatchObject({ status: 200, text: '' })
  })
})

describe('a client that reads slowly', () => {
  const CHUNK = Buffer.alloc(64 * 1024, 'data: x\n')
  const CHUNKS = 1024

  /** Sends 64 MiB as fast as the connection takes it. */
  function flood(progress: { sent: number; closed: boolean }) {
    return (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.once('close', () => {
        progress.closed = true
      })
      const more = () => {
        while (progress.sent < CHUNKS) {
          progress.sent += 1
          if (!response.write(CHUNK)) {
            response.once('drain', more)
            return
          }
        }
        response.end()
      }
      more()
    }
  }

  it('holds the provider back, instead of filling the memory of the gateway, and still gets every byte', async () => {
    const progress = { sent: 0, closed: false }
    const w = await inFrontOf(flood(progress))
    const response = await rawAnswer(w.url + CHAT, { method: 'POST', body: BODY })
    const stopped = await settled(() => progress.sent)
    expect(stopped).toBeLessThan(CHUNKS / 2)
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of response) {
      hash.update(chunk as Buffer)
      bytes += (chunk as Buffer).length
    }
    expect(bytes).toBe(CHUNKS * CHUNK.length)
    const expected = createHash('sha256')
    for (let index = 0; index < CHUNKS; index += 1) expected.update(CHUNK)
    expect(hash.digest('hex')).toBe(expected.digest('hex'))
    expect((await w.spanned('chat gpt-5.5')).attributes[ATTR_ATTEMPT_OUTCOME]).toBe('ok')
  })

  it('is cut off when it reads nothing at all for too long, and so is the provider', async () => {
    const progress = { sent: 0, closed: false }
    const w = await inFrontOf(flood(progress), { listen: { slowClientMs: 200 } })
    const response = await rawAnswer(w.url + CHAT, { method: 'POST', body: BODY })
    response.on('error', () => undefined)
    await eventually(() => expect(progress.closed).toBe(true))
    expect(progress.sent).toBeLessThan(CHUNKS)
    const span = await w.spanned('chat gpt-5.5')
    expect(span).toMatchObject({ status: 'unset', attributes: { [ATTR_ATTEMPT_OUTCOME]: 'aborted' } })
    response.destroy()
  })

  it('is not cut off while the model thinks', async () => {
    let send: ServerResponse | undefined
    const w = await inFrontOf(
      response => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.flushHeaders()
        send = response
      },
      { listen: { slowClientMs: 100 } },
    )
    const response = await fetch(w.url + CHAT, posted(BODY))
    await pause(300)
    send?.end('data: [DONE]\n\n')
    expect(await response.text()).toBe('data: [DONE]\n\n')
  })
})

describe('a provider whose answer cannot be passed on', () => {
  /** A server that speaks bytes, not HTTP. */
  async function rawProvider(bytes: string): Promise<string> {
    const server = createServer(socket => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(Buffer.from(bytes, 'latin1')))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    atTheEnd(async () => server.close())
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it.each([
    ['speaks no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ['says less than it announced', 'HTTP/1.1 500 Oops\r\ncontent-length: 50\r\n\r\nshort'],
  ])('because it %s is a failed profile, and the client hears it from us', async (_what, bytes) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl: await rawProvider(bytes) } } })
    const answer = await w.chat()
    expect(answer.status).toBe(502)
    expect(answer.json.error).toMatchObject({
      code: 'GW_ALL_PROFILES_FAILED',
      message: expect.stringContaining('openai:default (server_error)'),
    })
  })

  it('because it breaks off in the middle of a JSON body breaks off at the client too', async () => {
    const bytes = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"id":'
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl: await rawProvider(bytes) } } })
    const response = await fetch(w.url + CHAT, posted(BODY))
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
    expect((await w.spanned('gatewatch.call')).status).toBe('error')
  })

  it('with a header in Latin-1 is no reason to break off', async () => {
    const bytes = 'HTTP/1.1 200 OK\r\nx-region: Z\xfcrich\r\ncontent-length: 2\r\n\r\n{}'
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl: await rawProvider(bytes) } } })
    const answer = await w.chat()
    expect(answer).toMatchObject({ status: 200, text: '{}' })
  })
})
