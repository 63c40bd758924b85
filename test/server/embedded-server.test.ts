import { describe, expect, it } from 'vitest'
import { type CreateGatewayOptions, createGateway } from '../../src/server/create-gateway.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { afterwards } from '../support/clean-up.ts'

// Seen: an application that makes its own calls had a server of Gatewatch for its operators, whose /readyz said 503, since no profile
// was stored, and whose /v1 refused each call. Fix: what nothing can serve is not served, and the application says what is ready. Issue 24.

async function world(options: CreateGatewayOptions) {
  const faults: unknown[] = []
  const gateway = await createGateway({ listen: { port: 0 }, onError: fault => faults.push(fault), ...options })
  afterwards(() => gateway.close(0))
  const status = async (path: string, method = 'GET') => (await fetch(`${gateway.url}${path}`, { method })).status
  return { status, faults }
}

describe('the server of an application that makes its own calls', () => {
  it('is ready as the application says, and has no endpoints of providers', async () => {
    let isReady = false
    const w = await world({ ready: async () => isReady })
    expect(await w.status('/readyz')).toBe(503)
    isReady = true
    expect(await w.status('/readyz')).toBe(200)
    expect(await Promise.all(['/healthz', '/metrics', '/ops'].map(path => w.status(path)))).toEqual([200, 200, 200])
    expect(await w.status('/v1/models')).toBe(404)
    expect(await w.status('/v1/chat/completions', 'POST')).toBe(404)
    expect(await w.status('/oauth/openai-codex/token', 'POST')).toBe(404)
  })

  it('is ready while the process runs where the application says nothing', async () => {
    expect(await (await world({})).status('/readyz')).toBe(200)
  })

  it('is not ready when the callback throws, which is reported once', async () => {
    const w = await world({
      ready: () => {
        throw new RangeError('x')
      },
    })
    expect([await w.status('/readyz'), await w.status('/readyz')]).toEqual([503, 503])
    expect(w.faults).toEqual([expect.any(RangeError)])
  })
})

describe('the server of an application with profiles', () => {
  it('has the endpoints of providers, and is ready when a profile can serve', async () => {
    const w = await world({ store: memoryStore([]) })
    expect(await w.status('/readyz')).toBe(503)
    expect(await w.status('/v1/chat/completions', 'POST')).not.toBe(404)
  })
})
