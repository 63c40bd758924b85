import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_OUTCOME, SPAN_REFRESH } from '../../otel/semconv.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { afterwards } from '../support/clean-up.ts'
import { atTheEnd, observed } from '../support/gateway-world.ts'

/** Runs jobs one after the other, in the context in which it was started. */
class Pool {
  readonly #jobs: (() => Promise<unknown>)[] = []
  #wake: (() => void) | undefined

  async work(): Promise<void> {
    for (;;) {
      const job = this.#jobs.shift()
      if (job) await job()
      else
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
    }
  }

  add<T>(job: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#jobs.push(() => job().then(resolve, reject))
      this.#wake?.()
    })
  }
}

async function world() {
  let requests = 0
  const server = createServer((_request, response) => {
    requests += 1
    response.setHeader('content-type', 'application/json').end('{"access_token":"fresh","token_type":"bearer","expires_in":60}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  afterwards(() => void server.close())
  const tokenUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  const watch = await startGatewatch({ environment: {}, gate: { bypass: 'enforce' } })
  atTheEnd(() => watch.close())
  const pool = new Pool()
  void pool.work()
  const post = async (body = 'grant_type=refresh_token&refresh_token=r-1') =>
    (await fetch(tokenUrl, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded' } })).text()
  const wrap = (refresh: () => Promise<string>) => watch.wrapRefresh(refresh, { provider: 'acme', profile: 'acme:me', tokenUrl })
  return { watch, pool, post, wrap, requests: () => requests, ...observed(watch) }
}

// Seen: a refresh that a pool sends was blocked as a bypass, since the pool's worker runs in another context. Issue 3 of 6.
describe('a refresh whose token request a pool sends', () => {
  it('is part of it where the job is bound', async () => {
    const w = await world()
    const refresh = w.wrap(() => w.pool.add(w.watch.bindPermit(() => w.post())))
    async function askForToken() {
      return await refresh()
    }
    expect(await askForToken()).toContain('fresh')
    expect(w.requests()).toBe(1)
    expect(await w.series('bypasses')).toEqual([])
    expect(w.spans(SPAN_REFRESH).map(({ attributes }) => [attributes[ATTR_OUTCOME], attributes[ATTR_CALLER]])).toEqual([
      ['renewed', 'test/refresh/bound-permit.test.ts#askForToken'],
    ])
  })

  it('is a bypass where it is not, and after the refresh has ended', async () => {
    const w = await world()
    await expect(w.wrap(() => w.pool.add(() => w.post()))()).rejects.toThrow()
    let later = (): Promise<string> => Promise.reject(new Error('not bound'))
    await w.wrap(async () => {
      later = w.watch.bindPermit(() => w.post())
      return 'unchanged'
    })()
    await expect(later()).rejects.toThrow('fetch failed')
    expect(w.requests()).toBe(0)
    expect((await w.series('bypasses')).map(({ value }) => value).reduce((sum, value) => sum + value, 0)).toBe(2)
  })

  it('keeps `this`, arguments and result; outside of a refresh the function is the same', async () => {
    const w = await world()
    function add(this: { base: number }, one: number): number {
      return this.base + one
    }
    expect(w.watch.bindPermit(add)).toBe(add)
    const bound = await w.wrap(async () => {
      const inside = w.watch.bindPermit(add)
      expect(inside).not.toBe(add)
      return String(inside.call({ base: 1 }, 2))
    })()
    expect(bound).toBe('3')
  })
})
