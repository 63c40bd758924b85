import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ATTR_ATTEMPT_OUTCOME, ATTR_FALLBACK_TO } from '../../otel/semconv.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { parseSettings } from '../../src/settings/options.ts'
import { atTheEnd, eventually, gatewayWorld, OPENAI_PROFILE, providerOf } from '../support/gateway-world.ts'
import { rawConnection } from '../support/raw-request.ts'

// Seen: a refusal whose body came a byte a second held the call, and the fallback behind it, for hours; 20 bodies of 30 MB at
// one time cost 1.2 GB. Why: only the pauses within a body were limited, and each body stood in memory twice, without a bound
// over all. Fix: a refusal has three seconds in all, and listen.maxBufferedBytes. Issue "1 of 6", point D2.

const CHAT = '/v1/chat/completions'
const LIMITS = { maxBodyBytes: 4_096, maxBufferedBytes: 10_000 }

function bodyOf(bytes: number): string {
  const head = '{"model":"gpt-5.5","messages":[],"padding":"'
  return `${head}${'x'.repeat(bytes - head.length - 2)}"}`
}

/** A gateway with room for two bodies of 4,096 bytes, before a provider that answers when the test releases it. */
async function world() {
  const asked: ServerResponse[] = []
  const lengths: number[] = []
  const baseUrl = await providerOf(async (request, response) => {
    lengths.push(Buffer.concat(await request.toArray()).length)
    asked.push(response)
  })
  const w = await gatewayWorld({ profiles: OPENAI_PROFILE, providers: { openai: { baseUrl } }, listen: LIMITS })
  const reached = (count: number) => eventually(() => expect(asked).toHaveLength(count))
  return { ...w, asked, lengths, reached, answer: (index: number) => asked[index]?.end('{}') }
}

const REFUSED = {
  status: 503,
  json: {
    error: {
      code: 'GW_OVERLOADED',
      next: 'try_again_later',
      message: 'requests under way hold as many bytes of bodies as listen.maxBufferedBytes allows',
    },
  },
}

describe('the bodies of all requests under way', () => {
  it('may be so many bytes: one beyond it is refused, and taken once another is answered', async () => {
    const w = await world()
    const first = w.post(CHAT, bodyOf(4_096))
    await w.reached(1)
    const second = w.post(CHAT, bodyOf(4_096))
    await w.reached(2)

    const refused = await w.post(CHAT, bodyOf(4_096))
    expect(refused).toMatchObject(REFUSED)
    expect(refused.headers.get('retry-after')).toBe('1')
    const small = w.post(CHAT, bodyOf(1_000))
    await w.reached(3)

    w.answer(0)
    expect((await first).status).toBe(200)
    const fourth = w.post(CHAT, bodyOf(4_096))
    await w.reached(4)
    for (const index of [1, 2, 3]) w.answer(index)
    expect((await Promise.all([second, small, fourth])).map(({ status }) => status)).toEqual([200, 200, 200])
    expect(w.lengths).toEqual([4_096, 4_096, 1_000, 4_096])
  })

  it('count as they come where no length is announced, and inflated where they come compressed', async () => {
    const w = await world()
    const first = w.post(CHAT, gzipSync(bodyOf(4_096)), { 'content-encoding': 'gzip' })
    await w.reached(1)
    const second = w.post(CHAT, gzipSync(bodyOf(4_096)), { 'content-encoding': 'gzip' })
    await w.reached(2)
    expect(await w.post(CHAT, gzipSync(bodyOf(4_096)), { 'content-encoding': 'gzip' })).toMatchObject(REFUSED)

    const { socket, received } = await rawConnection(w.url)
    socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n`)
    socket.write(`${(4_000).toString(16)}\r\n${bodyOf(4_000)}\r\n0\r\n\r\n`)
    await eventually(() => expect(received()).toContain('503 Service Unavailable'))
    socket.destroy()
    for (const index of [0, 1]) w.answer(index)
    await Promise.all([first, second])
    expect(w.lengths).toEqual([4_096, 4_096])
  })

  it('give their room back when their clients leave, in the middle of a body or of an answer', async () => {
    const w = await world()
    for (let round = 1; round <= 5; round += 1) {
      const halfway = await rawConnection(w.url)
      halfway.socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 4096\r\n\r\n{"model":`)
      await eventually(() => expect(halfway.received()).toContain('100 Continue'))
      const asking = await rawConnection(w.url)
      asking.socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4096\r\n\r\n${bodyOf(4_096)}`)
      await w.reached(round)
      halfway.socket.destroy()
      asking.socket.destroy()
      await eventually(() => expect(w.spans(`POST ${CHAT}`)).toHaveLength(round * 2))
    }
    const last = w.post(CHAT, bodyOf(4_096))
    await w.reached(6)
    w.answer(5)
    expect((await last).status).toBe(200)
  })

  it('are refused in the words of Anthropic where that is spoken', async () => {
    const w = await world()
    const held = [w.post(CHAT, bodyOf(4_096)), w.post(CHAT, bodyOf(4_096))]
    await w.reached(2)
    expect(await w.post('/v1/messages', bodyOf(4_096))).toMatchObject({
      status: 503,
      json: { type: 'error', error: { type: 'overloaded_error' } },
    })
    for (const index of [0, 1]) w.answer(index)
    await Promise.all(held)
  })

  it('have room for one of the largest, whatever that is', () => {
    const refusal = (listen: object) => {
      try {
        parseSettings({ listen }, 'gateway.json')
      } catch (error) {
        return error instanceof GatewayError ? error.message : error
      }
      return undefined
    }
    expect(refusal({ maxBodyBytes: 4_096, maxBufferedBytes: 4_095 })).toBe(
      'gateway.json: listen.maxBufferedBytes: is the number 4095, allowed: at least listen.maxBodyBytes, which is 4096',
    )
    expect(refusal({ maxBodyBytes: 4_096, maxBufferedBytes: 4_096 })).toBeUndefined()
    expect(refusal({ maxBodyBytes: 1_000_000_000 })).toBeUndefined()
  })
})

describe('a refusal whose body trickles in', () => {
  /** A provider that refuses, and sends the body of that a byte at a time for ever. */
  async function trickle(): Promise<{ baseUrl: string; closed: Promise<void> }> {
    const closed = Promise.withResolvers<void>()
    const server = createServer((_request, response) => {
      response.writeHead(429, { 'content-type': 'application/json' })
      const drip = setInterval(() => response.write(' '), 50)
      response.once('close', () => {
        clearInterval(drip)
        closed.resolve()
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    atTheEnd(async () => server.close().closeAllConnections())
    return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, closed: closed.promise }
  }

  it('is judged by what is there after a few seconds, and the next profile serves', async () => {
    const { baseUrl, closed } = await trickle()
    const w = await gatewayWorld({
      profiles: { 'slow:default': { provider: 'slow', apiKeyEnv: 'OPENAI_KEY' }, ...OPENAI_PROFILE },
      providers: { slow: { baseUrl } },
      order: ['slow:default', 'openai:default'],
    })
    const answer = await w.chat()
    expect(answer).toMatchObject({ status: 200 })
    expect(answer.headers.get('x-gatewatch-profile')).toBe('openai:default')
    await closed
    const [refused] = w.spans('chat gpt-5.5')
    expect(refused?.attributes[ATTR_ATTEMPT_OUTCOME]).toBe('rate_limit')
    const call = await w.spanned('gatewatch.call')
    expect(call.events.map(({ attributes }) => attributes?.[ATTR_FALLBACK_TO])).toContain('openai:default')
  })
})
