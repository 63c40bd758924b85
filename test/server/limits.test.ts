import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { eventually, gatewayWorld, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'
import { rawConnection, rawRequest } from '../support/raw-request.ts'

const CHAT = '/v1/chat/completions'

function bodyOf(bytes: number): string {
  const head = '{"model":"gpt-5.5","messages":[],"padding":"'
  return `${head}${'x'.repeat(bytes - head.length - 2)}"}`
}

describe('the size of a request', () => {
  it('may be all that listen.maxBodyBytes allows, and not a byte more', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { maxBodyBytes: 4096 } })
    expect((await w.post(CHAT, bodyOf(4096))).status).toBe(200)
    const answer = await w.post(CHAT, bodyOf(4097))
    expect(answer).toMatchObject({
      status: 413,
      json: { error: { code: 'GW_TOO_LARGE', next: 'fix_request', message: 'the body is larger than listen.maxBodyBytes allows' } },
    })
    expect(await w.spanned(`POST ${CHAT}`)).toBeDefined()
    expect(w.simulator.counts().providerCalls.total).toBe(1)
  })

  it('is refused in the words of Anthropic where that is spoken', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { maxBodyBytes: 4096 } })
    expect(await w.post('/v1/messages', bodyOf(5000))).toMatchObject({
      status: 413,
      json: { type: 'error', error: { type: 'request_too_large' } },
    })
  })

  it('counts after decompression: a small bomb is a large body', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { maxBodyBytes: 4096 } })
    const bomb = gzipSync(bodyOf(1_000_000))
    expect(bomb.length).toBeLessThan(4096)
    expect((await w.post(CHAT, bomb, { 'content-encoding': 'gzip' })).status).toBe(413)
  })

  it('counts without being announced', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { maxBodyBytes: 4096 } })
    const { socket, received } = await rawConnection(w.url)
    socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n`)
    socket.write(`${(5000).toString(16)}\r\n${'x'.repeat(5000)}\r\n`)
    // What is too much is read off and thrown away; the answer comes when the client has said all.
    socket.write('0\r\n\r\n')
    await eventually(() => expect(received()).toContain('413 Payload Too Large'))
    socket.destroy()
  })
})

describe('the time of a request', () => {
  it.each([
    ['its head', 'POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: '],
    ['its body', 'POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{"model":'],
  ])('is up for a client that does not send %s', async (_what, beginning) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, listen: { requestTimeoutMs: 200 } })
    const { socket, received, closed } = await rawConnection(w.url)
    socket.write(beginning)
    await closed
    expect(received()).toContain('408 Request Timeout')
    expect(w.simulator.counts().providerCalls.total).toBe(0)
  })

  it('is not up while the answer takes its time', async () => {
    const asked = Promise.withResolvers<ServerResponse>()
    const baseUrl = await providerOf((_request, response) => asked.resolve(response))
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } }, listen: { requestTimeoutMs: 1_000 } })
    const answer = w.chat()
    const provider = await asked.promise
    // One that came later and is slow has its time measured by the same server: when it is up, that of the first one would be.
    const { socket, received, closed } = await rawConnection(w.url)
    socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ')
    await closed
    expect(received()).toContain('408 Request Timeout')
    provider.end('{}')
    expect((await answer).status).toBe(200)
  })
})

describe('a client that breaks off', () => {
  it('in the middle of its body costs nothing', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { socket, received } = await rawConnection(w.url)
    socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n{"model":`)
    // By then the request is there, and its body is waited for.
    await eventually(() => expect(received()).toContain('100 Continue'))
    socket.destroy()
    const span = await w.spanned(`POST ${CHAT}`)
    expect(span.status).toBe('unset')
    expect(w.simulator.counts().providerCalls.total).toBe(0)
    expect((await w.chat()).status).toBe(200)
  })

  it.each([
    ['a request that is none', 'NONSENSE\r\n\r\n'],
    ['a header that is none', 'GET /healthz HTTP/1.1\r\nhost: x\r\nno header\r\n\r\n'],
    ['two lengths', 'POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'],
    ['a length and chunks', 'POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n'],
  ])('because it sends %s hurts no other caller', async (_what, bytes) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const { socket, received, closed } = await rawConnection(w.url)
    socket.write(bytes)
    await closed
    expect(received()).toContain('400 Bad Request')
    expect((await rawRequest(`${w.url}/healthz`)).status).toBe(200)
  })

  it('is answered 400 for an unreadable path', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await w.ask('/ops/data/traces/%zz')).toMatchObject({ status: 400, json: { error: { message: 'the path could not be read' } } })
  })
})
