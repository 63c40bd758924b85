import type { ServerResponse } from 'node:http'
import { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { Agent, Client, Pool, pipeline, request, stream, fetch as undiciFetch } from 'undici'
import { describe, expect, it } from 'vitest'
import { wrapDispatch } from '../../src/http-clients/undici-dispatch.ts'
import { EndpointRegistry } from '../../src/token-requests/endpoint-registry.ts'
import { deduplicateInterceptor } from '../../src/watch/deduplicate-interceptor.ts'
import type { SharedEnd } from '../../src/watch/deduplicated-request.ts'
import { DEAD_URL, onClose, startServer, until } from './world.ts'

// Here undici was loaded before anybody looked; in a watched process its classes are wrapped as they are loaded.
wrapDispatch(Object.getPrototypeOf(Agent))

const KIND = { 'content-type': 'application/x-www-form-urlencoded' }

/** A refresh as an application makes it: the text of the answer. */
type Refresh = (url: string, body: string, signal?: AbortSignal) => Promise<string>

const CLIENTS: Record<string, Refresh> = {
  fetch: async (url, body, signal) => (await fetch(url, { method: 'POST', body, headers: KIND, ...(signal && { signal }) })).text(),
  'fetch of a stream': async (url, body, signal) =>
    (
      await fetch(url, {
        method: 'POST',
        body: new Blob([body]).stream(),
        duplex: 'half',
        headers: KIND,
        ...(signal && { signal }),
      } as RequestInit)
    ).text(),
  "undici's fetch": async (url, body, signal) =>
    (await undiciFetch(url, { method: 'POST', body, headers: KIND, ...(signal && { signal }) })).text(),
  "undici's request": async (url, body, signal) =>
    (await request(url, { method: 'POST', body, headers: KIND, ...(signal && { signal }) })).body.text(),
  "undici's stream": async (url, body, signal) => {
    const pieces: Buffer[] = []
    const write = (piece: Buffer, _encoding: string, done: () => void) => {
      pieces.push(piece)
      done()
    }
    await stream(url, { method: 'POST', body, headers: KIND, ...(signal && { signal }) }, () => new Writable({ write }))
    return Buffer.concat(pieces).toString()
  },
  "undici's pipeline": async (url, body, signal) => {
    const line = pipeline(url, { method: 'POST', headers: KIND, ...(signal && { signal }) }, ({ body: answer }) => answer)
    line.end(body)
    return Buffer.concat(await line.toArray()).toString()
  },
  "undici's dispatch": (url, body) =>
    new Promise((resolve, reject) => {
      const { origin, pathname: path } = new URL(url)
      const pieces: Buffer[] = []
      new Agent().dispatch(
        { origin, path, method: 'POST', body, headers: KIND },
        {
          onRequestStart: () => undefined,
          onResponseStart: () => undefined,
          onResponseData: (_controller, piece) => void pieces.push(piece),
          onResponseEnd: () => resolve(Buffer.concat(pieces).toString()),
          onResponseError: (_controller, error) => reject(error),
        },
      )
    }),
}
const ABORTABLE = Object.entries(CLIENTS).filter(([name]) => !name.includes('dispatch'))

describe('refreshes of the same token', () => {
  it.each(Object.entries(CLIENTS))('by %s, three at once, are one request and get one answer', async (_name, refresh) => {
    const w = await world({ isHeld: true })
    const asked = Promise.all([1, 2, 3].map(() => refresh(w.tokenUrl, form('rt-0'))))
    await w.joined(2)
    w.release()
    const texts = await asked
    expect(texts.map(text => JSON.parse(text).refresh_token)).toEqual(['rt-1', 'rt-1', 'rt-1'])
    expect(w.received.map(({ body }) => body.toString())).toEqual([form('rt-0')])
    expect(w.decisions()).toEqual(['join', 'join'])
    expect(w.faults).toEqual([])
  })

  it('by different clients share it as well, each gets it in its own way', async () => {
    const w = await world({ isHeld: true })
    const asked = Promise.all(Object.values(CLIENTS).map(refresh => refresh(w.tokenUrl, form('rt-0'))))
    await w.joined(Object.keys(CLIENTS).length - 1)
    w.release()
    const texts = await asked
    expect(new Set(texts).size).toBe(1)
    expect(w.received).toHaveLength(1)
  })

  it('later get what came of it without a request, by whatever client; the newest there is', async () => {
    const w = await world()
    for (const refresh of Object.values(CLIENTS)) {
      const first = w.received.length === 0
      expect(JSON.parse(await refresh(w.tokenUrl, form('rt-0')))).toMatchObject({
        refresh_token: 'rt-1',
        ...(first && { expires_in: 3600 }),
      })
    }
    await refreshByFetch(w.tokenUrl, form('rt-1'))
    expect(JSON.parse(await refreshByFetch(w.tokenUrl, form('rt-0')))).toMatchObject({ refresh_token: 'rt-2' })
    expect(w.received).toHaveLength(2)
    expect(w.decisions()).toEqual([
      ...Object.keys(CLIENTS)
        .slice(1)
        .map(() => 'reuse'),
      'adopt',
    ])
  })

  it('by a pool or client of one host, which does not get it again, share it', async () => {
    const w = await world()
    const dispatchers = [new Pool(w.url, { connections: 1 }), new Client(w.url)]
    const post = (dispatcher: Pool | Client) => dispatcher.request({ path: '/token', method: 'POST', body: form('rt-0'), headers: KIND })
    const answers = await Promise.all([...dispatchers, ...dispatchers].map(async one => (await post(one)).body.json()))
    expect(answers).toHaveLength(4)
    expect(w.received).toHaveLength(1)
    for (const dispatcher of dispatchers) await dispatcher.close()
  })

  it('that ask for other scopes, or are of another client, are not the same', async () => {
    const w = await world()
    const forms = [
      form('rt-0'),
      `${form('rt-0')}&scope=a`,
      `${form('rt-0')}&scope=a+b`,
      `${form('rt-0')}&scope=b+a`,
      `${form('rt-0')}&client_id=x`,
    ]
    await Promise.all(forms.map(body => refreshByFetch(w.tokenUrl, body)))
    expect(w.received).toHaveLength(4)
  })

  it('are shown by their body where no setting names the URL', async () => {
    const w = await world()
    await Promise.all([1, 2].map(() => refreshByFetch(`${w.url}/unnamed`, form('rt-0'))))
    await Promise.all([1, 2].map(() => CLIENTS["undici's request"]?.(`${w.url}/unnamed`, form('rt-9'))))
    expect(w.received).toHaveLength(2)
  })

  it('get a compressed answer that can be read, at once and later', async () => {
    const w = await world({
      answer: response => {
        const body = gzipSync(JSON.stringify({ access_token: 'at-1', refresh_token: 'rt-1', expires_in: 3600 }))
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(body)
      },
    })
    const texts = [
      ...(await Promise.all([1, 2].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))),
      await refreshByFetch(w.tokenUrl, form('rt-0')),
    ]
    expect(texts.map(text => JSON.parse(text).refresh_token)).toEqual(['rt-1', 'rt-1', 'rt-1'])
    expect(w.received).toHaveLength(1)
  })
})

describe('who leaves', () => {
  it.each(ABORTABLE)('as the one who leads, by %s, ends no other request', async (_name, refresh) => {
    const w = await world({ isHeld: true })
    const leaving = new AbortController()
    const led = settled(refresh(w.tokenUrl, form('rt-0'), leaving.signal))
    const joined = refreshByFetch(w.tokenUrl, form('rt-0'))
    await until(() => w.received.length === 1)
    leaving.abort()
    expect(await led).toMatch(/abort/i)
    w.release()
    expect(JSON.parse(await joined)).toMatchObject({ refresh_token: 'rt-1' })
    expect(w.received).toHaveLength(1)
  })

  it.each(ABORTABLE)('as one of those who wait, by %s, only stops waiting', async (_name, refresh) => {
    const w = await world({ isHeld: true })
    const leaving = new AbortController()
    const led = refreshByFetch(w.tokenUrl, form('rt-0'))
    await until(() => w.received.length === 1)
    const joined = settled(refresh(w.tokenUrl, form('rt-0'), leaving.signal))
    const other = refreshByFetch(w.tokenUrl, form('rt-0'))
    await until(() => w.asked() === 3)
    // The body of a fetch takes a moment to be read; it has left in either case.
    leaving.abort()
    expect(await joined).toMatch(/abort/i)
    w.release()
    expect(await other).toBe(await led)
    expect(w.received).toHaveLength(1)
  })

  it('after its request was sent loses nothing: the answer is there when it comes again', async () => {
    const w = await world({ isHeld: true })
    const leaving = new AbortController()
    const led = settled(refreshByFetch(w.tokenUrl, form('rt-0'), leaving.signal))
    await until(() => w.received.length === 1)
    leaving.abort()
    expect(await led).toMatch(/abort/i)
    const again = refreshByFetch(w.tokenUrl, form('rt-0'))
    w.release()
    expect(JSON.parse(await again)).toMatchObject({ refresh_token: 'rt-1' })
    expect(w.received).toHaveLength(1)
  })

  // Seen: an application with a time limit of 2 s tried four times, all four waited for the first request, which hung; the process
  // did not end. Fix: a request that no caller waits for is waited for during 5 s, and then ended.
  it('and all that wait with it, ends a request that hangs: the next try sends one of its own', async () => {
    const w = await world({ isHeld: true, abandonedMs: 0 })
    for (const tries of [1, 2]) {
      const leaving = new AbortController()
      const led = settled(refreshByFetch(w.tokenUrl, form('rt-0'), leaving.signal))
      await until(() => w.received.length === tries)
      leaving.abort()
      expect(await led).toMatch(/abort/i)
    }
    const connections = () => new Promise(resolve => w.server.getConnections((_error, count) => resolve(count)))
    await expect.poll(connections).toBe(0)
    w.release()
    expect(JSON.parse(await refreshByFetch(w.tokenUrl, form('rt-0')))).toMatchObject({ access_token: expect.stringMatching(/^at-/) })
  })

  it('before anything was sent, and alone, sends nothing, as ever', async () => {
    const w = await world()
    for (const [, refresh] of ABORTABLE) expect(await settled(refresh(w.tokenUrl, form('rt-0'), AbortSignal.abort()))).toMatch(/abort/i)
    expect(w.received).toEqual([])
  })

  it('by a callback that throws fails alone', async () => {
    const w = await world({ isHeld: true })
    const fails = settled(
      stream(w.tokenUrl, { method: 'POST', body: form('rt-0'), headers: KIND }, () => {
        throw new Error('of the application')
      }),
    )
    const joined = refreshByFetch(w.tokenUrl, form('rt-0'))
    w.release()
    expect(await fails).toContain('of the application')
    expect(JSON.parse(await joined)).toMatchObject({ refresh_token: 'rt-1' })
  })

  it('never reads its answer does not keep it from the others', async () => {
    const filler = 'x'.repeat(200_000)
    const w = await world({ answer: response => void response.end(JSON.stringify({ refresh_token: 'rt-1', filler })) })
    const [unread, read] = await Promise.all([
      request(w.tokenUrl, { method: 'POST', body: form('rt-0'), headers: KIND, highWaterMark: 1 }),
      refreshByFetch(w.tokenUrl, form('rt-0')),
    ])
    expect(JSON.parse(read)).toMatchObject({ filler })
    expect(await unread.body.json()).toMatchObject({ filler })
    expect(w.received).toHaveLength(1)
  })
})

describe('a failure', () => {
  it('of the provider is shared by those in flight and never kept', async () => {
    const w = await world({ isHeld: true, answer: response => void response.writeHead(400).end('{"error":"invalid_grant"}') })
    const asked = Promise.all([1, 2, 3].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))
    await w.joined(2)
    w.release()
    const refused = await asked
    expect(refused).toEqual(['{"error":"invalid_grant"}', '{"error":"invalid_grant"}', '{"error":"invalid_grant"}'])
    expect(w.received).toHaveLength(1)
    await refreshByFetch(w.tokenUrl, form('rt-0'))
    expect(w.received).toHaveLength(2)
  })

  it('of the connection is shared likewise, and shown by each client in its own way', async () => {
    const w = await world()
    const ends = await Promise.all(Object.values(CLIENTS).map(refresh => settled(refresh(DEAD_URL, form('rt-0')))))
    expect(ends.every(end => end.includes('ECONNREFUSED'))).toBe(true)
    expect(w.ends().every(end => 'error' in end)).toBe(true)
  })

  it('in what reports it leaves the answer to all callers', async () => {
    const w = await world({
      onReported: () => {
        throw new TypeError('the watch stumbled')
      },
    })
    const texts = await Promise.all([1, 2].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))
    expect([...texts, await refreshByFetch(w.tokenUrl, form('rt-0'))].map(text => JSON.parse(text).refresh_token)).toEqual([
      'rt-1',
      'rt-1',
      'rt-1',
    ])
    expect(w.faults).toEqual([new TypeError('the watch stumbled'), new TypeError('the watch stumbled')])
  })

  it('of the watch lets everything go on as it was asked for', async () => {
    const w = await world({
      onAsked: () => {
        throw new TypeError('the watch stumbled')
      },
    })
    expect(await Promise.all([1, 2].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))).toHaveLength(2)
    expect(w.received.map(({ body }) => body.toString())).toEqual([form('rt-0'), form('rt-0')])
    expect(w.faults).toEqual([new TypeError('the watch stumbled'), new TypeError('the watch stumbled')])
  })
})

describe('an answer that is no token answer', () => {
  it('is each one’s own, and whole, when it goes on and on', async () => {
    const filler = 'x'.repeat(1_000_000)
    const w = await world({ answer: response => void response.end(filler) })
    const texts = await Promise.all([1, 2].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))
    expect(texts.map(text => text.length)).toEqual([1_000_000, 1_000_000])
    expect(w.received).toHaveLength(2)
  })
})

describe('what is no refresh', () => {
  it.each([
    ['a call of a model', '/v1/responses', '{"model":"m","input":"hi"}', { 'content-type': 'application/json' }],
    ['an exchange of a code', '/token', 'grant_type=authorization_code&code=c-1', KIND],
    ['a refresh without a token', '/token', 'grant_type=refresh_token&refresh_token=undefined', KIND],
    ['a revocation', '/revoke', 'token=rt-0&token_type_hint=refresh_token', KIND],
    ['a form longer than any', '/token', `${form('rt-0')}&filler=${'x'.repeat(100_000)}`, KIND],
  ])('%s is sent each time, unchanged', async (_what, path, body, headers) => {
    const w = await world()
    const bodies = [body, new Blob([body]).stream()]
    await Promise.all(
      bodies.map(async one => (await fetch(w.url + path, { method: 'POST', body: one, headers, duplex: 'half' } as RequestInit)).text()),
    )
    await Promise.all([1, 2].map(async () => (await request(w.url + path, { method: 'POST', body, headers })).body.dump()))
    await (await request(w.url + path, { method: 'POST', body: Readable.from([body]), headers })).body.dump()
    expect(w.received.map(received => received.body.toString())).toEqual(Array.from({ length: 5 }, () => body))
    expect(w.decisions()).toEqual([])
    expect(w.faults).toEqual([])
  })

  it('in another way is not even looked at', async () => {
    const w = await world()
    await fetch(w.tokenUrl)
    await fetch(w.tokenUrl, { method: 'PUT', body: form('rt-0') })
    await fetch(w.url, { method: 'POST' })
    const line = pipeline(w.url, { method: 'POST' }, ({ body }) => body)
    line.write('a model call, ')
    line.end('in pieces')
    await finished(line.resume())
    expect(w.received).toHaveLength(4)
    expect(w.asked()).toBe(0)
  })

  it('keeps the way in which it is written: a stream of unknown length in chunks, a text with its length', async () => {
    const w = await world()
    await CLIENTS["undici's pipeline"]?.(w.tokenUrl, form('rt-a'))
    await refreshByFetch(w.tokenUrl, form('rt-b'))
    const [inChunks, whole] = w.received
    expect(inChunks?.headers).toMatchObject({ 'transfer-encoding': 'chunked' })
    expect(whole?.headers).toMatchObject({ 'content-length': String(form('rt-b').length) })
    expect(whole?.headers).not.toHaveProperty('transfer-encoding')
  })
})

it('nothing is shared any more when it is stopped', async () => {
  const w = await world()
  await refreshByFetch(w.tokenUrl, form('rt-0'))
  w.stop()
  await Promise.all([1, 2].map(() => refreshByFetch(w.tokenUrl, form('rt-0'))))
  expect(w.received).toHaveLength(3)
})

interface WorldOptions {
  answer?: (response: ServerResponse) => void
  /** Answers wait until they are released. */
  isHeld?: boolean
  abandonedMs?: number
  onAsked?: () => void
  onReported?: () => void
}

/** A token endpoint that gives `rt-1`, `rt-2`, ... out; `/token` is known as one. */
async function world({ answer, isHeld = false, abandonedMs, onAsked, onReported }: WorldOptions = {}) {
  let count = 0
  const held: (() => void)[] = []
  const grant = (response: ServerResponse) => {
    count += 1
    const body = JSON.stringify({ access_token: `at-${count}`, refresh_token: `rt-${count}`, expires_in: 3600 })
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  }
  const server = await startServer(response => {
    const go = () => (answer ?? grant)(response)
    if (isHeld) held.push(go)
    else setImmediate(go)
  })
  const decisions: string[] = []
  const ends: SharedEnd[] = []
  const faults: unknown[] = []
  let asked = 0
  const service = new EndpointRegistry({ tokenUrls: {}, apis: {}, exclude: [] }).service('acme')
  const stop = deduplicateInterceptor({
    windowMs: 600_000,
    ...(abandonedMs !== undefined && { abandonedMs }),
    serviceAt: ({ pathname }) => (pathname === '/token' ? service : 'unnamed'),
    asking: () => {
      asked += 1
      onAsked?.()
      return {
        coalesced: ({ decision }) => {
          decisions.push(decision)
          return end => {
            ends.push(end)
            onReported?.()
          }
        },
      }
    },
    onFault: fault => faults.push(fault),
  })
  onClose(stop)
  return {
    ...server,
    tokenUrl: `${server.url}/token`,
    decisions: () => decisions,
    ends: () => ends,
    asked: () => asked,
    faults,
    stop,
    /** Resolves when so many wait for the request of another. */
    joined: (count: number) => until(() => decisions.filter(decision => decision === 'join').length === count),
    /** Answers what waits, and from now on at once. */
    release: () => {
      isHeld = false
      for (const go of held.splice(0)) go()
    },
  }
}

function form(token: string): string {
  return `grant_type=refresh_token&refresh_token=${token}`
}

function refreshByFetch(url: string, body: string, signal?: AbortSignal): Promise<string> {
  return CLIENTS.fetch?.(url, body, signal) ?? Promise.reject(new Error('no client'))
}

/** The names, codes and messages of the error that something ends with, and of its causes. */
async function settled(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'no error'
  } catch (error) {
    let text = ''
    for (let one = error; one instanceof Error; one = one.cause) text += `${one.name} ${(one as { code?: unknown }).code} ${one.message} `
    return text || String(error)
  }
}
