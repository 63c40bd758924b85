import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Pool, request, fetch as undiciFetch } from 'undici'
import { describe, expect, it } from 'vitest'
import {
  ATTR_CALLER,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_SHAPE_FIELDS,
  ATTR_VIA,
  SPAN_EXCHANGE,
  SPAN_REFRESH,
} from '../../otel/names.ts'
import { carryPermit, Permit } from '../../src/providers/permit.ts'
import { bypassError } from '../../src/watch/block.ts'
import { watchOutgoing } from '../../src/watch/outgoing.ts'
import { bypassWorld, onClose, startServer, until } from './world.ts'

const FORM = 'grant_type=refresh_token&refresh_token=rt_secret_1'
const SHAPE = 'grant_type=refresh_token refresh_token=opaque:11'

/** A token request as an application makes it; rejects as its client does. */
type Client = (url: string, body: string) => Promise<unknown>

const CLIENTS: Record<string, Client> = {
  fetch: async function refreshTheToken(url, body) {
    await fetch(url, { method: 'POST', body })
  },
  "undici's fetch": async function refreshTheToken(url, body) {
    await undiciFetch(url, { method: 'POST', body })
  },
  "undici's request": async function refreshTheToken(url, body) {
    await request(url, { method: 'POST', body })
  },
  'node:http': async function refreshTheToken(url, body) {
    await once(http.request(url, { method: 'POST' }).end(body), 'response')
  },
  'node:http in pieces, on a connection that is open': async function refreshTheToken(url, body) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    onClose(() => agent.destroy())
    const [first] = await once(http.get(new URL('/open', url), { agent }), 'response')
    await once(first.resume(), 'end')
    const outgoing = http.request(url, { method: 'POST', agent })
    outgoing.flushHeaders()
    outgoing.write(body.slice(0, 9))
    outgoing.end(body.slice(9))
    await once(outgoing, 'response')
  },
}

async function world() {
  const server = await startServer()
  return { ...server, ...(await bypassWorld(server, { policy: 'enforce' })) }
}

describe('under enforce a token request without a permit', () => {
  it.each(Object.entries(CLIENTS))('is not sent by %s, which tells of it as of a failed connection', async (_name, refreshTheToken) => {
    const w = await world()
    const error = await refreshTheToken(w.tokenUrl, FORM).then(
      () => undefined,
      (thrown: Error) => thrown,
    )
    const ours = (error?.cause ?? error) as Error & { code?: string }
    expect(ours.code).toBe('GATEWATCH_BYPASS')
    expect(ours.message).toContain('enforce.test.ts#refreshTheToken')
    expect(ours.message).not.toContain('rt_secret_1')
    await until(() => w.spans().length === 1)
    expect(w.received.filter(({ path }) => path === '/token')).toEqual([])
    expect(w.faults).toEqual([])
  })

  it('is told of as what it is: held back, with its caller and its shape', async () => {
    const w = await world()
    await expect(CLIENTS['node:http']?.(w.tokenUrl, FORM)).rejects.toMatchObject({ code: 'GATEWATCH_BYPASS' })
    await until(() => w.spans().length === 1)
    const [span] = w.spans()
    expect(span?.name).toBe(SPAN_REFRESH)
    expect(span?.attributes).toMatchObject({
      [ATTR_VIA]: 'bypass',
      [ATTR_POLICY]: 'enforce',
      [ATTR_OUTCOME]: 'blocked',
      [ATTR_PERMANENT]: false,
      [ATTR_ERROR_TYPE]: 'GATEWATCH_BYPASS',
      [ATTR_SHAPE_FIELDS]: SHAPE,
      [ATTR_CALLER]: 'test/watch/enforce.test.ts#refreshTheToken',
    })
    expect(span?.attributes).not.toHaveProperty(ATTR_HTTP_STATUS)
    expect(await w.points('bypasses')).toMatchObject([{ policy: 'enforce', value: 1 }])
    expect(await w.points('refreshDuration')).toMatchObject([{ outcome: 'blocked', via: 'bypass', value: 1 }])
  })

  it('has its body read even when nobody sends it, unless nobody knows how long that would take', async () => {
    const w = await world()
    const endless = new ReadableStream({ pull: controller => controller.enqueue(new Uint8Array(1024)) })
    const inits: RequestInit[] = [{ body: FORM }, { body: endless, duplex: 'half' } as RequestInit]
    for (const init of inits) await expect(fetch(w.tokenUrl, { method: 'POST', ...init })).rejects.toThrow(TypeError)
    await until(() => w.spans().length === 2)
    expect(w.spans().map(({ attributes }) => attributes[ATTR_SHAPE_FIELDS])).toEqual([SHAPE, ''])
    expect(w.received).toEqual([])
  })

  it('that exchanges a code is held back as well', async () => {
    const w = await world()
    const code = 'grant_type=authorization_code&code=c_1'
    await expect(CLIENTS["undici's request"]?.(w.tokenUrl, code)).rejects.toMatchObject({ code: 'GATEWATCH_BYPASS' })
    await until(() => w.spans().length === 1)
    expect(w.spans().map(({ name, attributes }) => [name, attributes[ATTR_ERROR_TYPE]])).toEqual([[SPAN_EXCHANGE, 'GATEWATCH_BYPASS']])
    expect(w.received).toEqual([])
  })

  it('over HTTP/2 is not sent, on a session that is being opened or one that is open', async () => {
    const received: string[] = []
    const server = http2.createServer((incoming, response) => {
      received.push(incoming.url)
      response.end('ok')
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    onClose(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const w = await bypassWorld({ url }, { policy: 'enforce' })
    const session = http2.connect(url)
    onClose(() => session.destroy())
    const post = async (path: string) => {
      const stream = session.request({ ':method': 'POST', ':path': path })
      stream.end(FORM)
      await once(stream, 'response')
      await once(stream.resume(), 'end')
    }
    await expect(post('/token')).rejects.toMatchObject({ code: 'GATEWATCH_BYPASS' })
    await post('/other')
    await expect(post('/token')).rejects.toMatchObject({ code: 'GATEWATCH_BYPASS' })
    await until(() => w.spans().length === 2)
    expect(w.spans().map(({ attributes }) => [attributes[ATTR_OUTCOME], attributes[ATTR_SHAPE_FIELDS]])).toEqual([
      ['blocked', SHAPE],
      ['blocked', SHAPE],
    ])
    expect(received).toEqual(['/other'])
    expect(w.faults).toEqual([])
  })
})

describe('under enforce', () => {
  it('a request that shows a permit is sent', async () => {
    const w = await world()
    const permit = new Permit({ url: w.tokenUrl, lifetimeMs: 60_000 })
    await carryPermit(permit, () => CLIENTS.fetch?.(w.tokenUrl, FORM))
    await expect(CLIENTS.fetch?.(w.tokenUrl, FORM)).rejects.toMatchObject({ cause: { code: 'GATEWATCH_BYPASS' } })
    expect(w.received.map(({ body }) => body.toString())).toEqual([FORM])
  })

  it('everything that is no token request is sent', async () => {
    const w = await world()
    await CLIENTS.fetch?.(`${w.url}/v1/responses`, '{}')
    await (await fetch(w.tokenUrl)).text()
    expect(w.received).toHaveLength(2)
    expect(w.spans()).toEqual([])
  })

  it('a pool goes on with what waits behind a request that was held back', async () => {
    const w = await world()
    const pool = new Pool(w.url, { connections: 1 })
    onClose(() => pool.destroy())
    const paths = ['/a', '/token', '/b', '/token', '/c']
    const ends = await Promise.allSettled(
      paths.map(async path => (await pool.request({ path, method: 'POST', body: FORM })).body.dump().then(() => path)),
    )
    expect(ends.map(end => (end.status === 'fulfilled' ? end.value : end.reason.code))).toEqual([
      '/a',
      'GATEWATCH_BYPASS',
      '/b',
      'GATEWATCH_BYPASS',
      '/c',
    ])
    expect(w.received.map(({ path }) => path)).toEqual(['/a', '/b', '/c'])
  })
})

describe('a body that is held back until it is told', () => {
  /** Holds every POST back, and refuses those that say `bad`. */
  async function holding() {
    const server = await startServer()
    const told: (string | undefined)[] = []
    const stop = watchOutgoing({
      wanted: method => method === 'POST',
      listener: outgoing => {
        const hear = (body: string | undefined) => {
          told.push(body)
          if (body?.includes('bad')) outgoing.block(bypassError(new URL(outgoing.url), 'a caller'))
        }
        outgoing.onBody(hear, { holds: true })
      },
      onFault: fault => told.push(String(fault)),
    })
    onClose(stop)
    return { ...server, told }
  }

  it.each(Object.entries(CLIENTS))('by %s goes on as it was, or is not sent at all', async (_name, refreshTheToken) => {
    const w = await holding()
    await refreshTheToken(w.url, 'good=1&good=2')
    const refused = refreshTheToken(w.url, 'good=1&bad=2')
    await expect(refused.catch((error: Error) => error.cause ?? error)).resolves.toMatchObject({ code: 'GATEWATCH_BYPASS' })
    expect(w.told).toEqual(['good=1&good=2', 'good=1&bad=2'])
    expect(w.received.map(({ body }) => body.toString()).filter(body => body !== '')).toEqual(['good=1&good=2'])
  })

  it('is let go when it is longer than any token request, and its writer is told of each piece', async () => {
    const w = await holding()
    const outgoing = http.request(w.url, { method: 'POST' })
    const piece = 'x'.repeat(40_000)
    for (let written = 0; written < 3; written += 1) await new Promise(resolve => outgoing.write(piece, resolve))
    await once(outgoing.end('bad'), 'response')
    expect(w.received.map(({ body }) => body.toString())).toEqual([`${piece.repeat(3)}bad`])
  })
})
