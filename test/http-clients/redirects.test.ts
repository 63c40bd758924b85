import http from 'node:http'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import type { RawFrame } from '../../src/callers/stack-frames.ts'
import { watchOutgoing } from '../../src/http-clients/outgoing.ts'
import { onClose, startServer } from '../watch/world.ts'

/** A server that sends `/moved` on to `/token`, and who asked for each, by the names on the stack. */
async function world() {
  const server = await startServer((response, { path }) => {
    if (path === '/moved') response.writeHead(307, { location: '/token' }).end()
    else response.end('ok')
  })
  const seen: { url: string; names: string[] }[] = []
  const stop = watchOutgoing({
    wanted: method => method === 'POST',
    listener: function listener(outgoing) {
      seen.push({ url: outgoing.url, names: outgoing.frames(listener).map(({ functionName }: RawFrame) => functionName) })
      outgoing.onEnd(() => undefined)
    },
    onFault: fault => seen.push({ url: String(fault), names: [] }),
  })
  onClose(stop)
  return { ...server, seen }
}

describe('a request that was redirected', () => {
  it('is known by who made the first one', async () => {
    const w = await world()
    async function theApplication() {
      await (await fetch(`${w.url}/moved`, { method: 'POST', body: 'a=1' })).text()
    }
    await theApplication()
    expect(w.seen.map(({ url, names }) => [url, names.includes('theApplication')])).toEqual([
      [`${w.url}/moved`, true],
      [`${w.url}/token`, true],
    ])
  })

  it('is followed once: the next one to the same place is another caller’s', async () => {
    const w = await world()
    async function theApplication() {
      const { body } = await request(`${w.url}/moved`, { method: 'POST', body: 'a=1' })
      await body.dump()
    }
    await theApplication()
    const later = () => new Promise(resolve => setImmediate(() => http.request(`${w.url}/token`, { method: 'POST' }, resolve).end()))
    await later()
    await later()
    expect(w.seen.map(({ names }) => names.includes('theApplication'))).toEqual([true, true, false])
  })
})
