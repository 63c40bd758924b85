/**
 * Memory and scrape of an application with many users, an hour of traffic in ten parts: `node bench/many-users.ts [users] [calls of each]`
 * (1,000 and 30). Each user refreshes in every part; calls go to three models. The heap after a forced collection is printed behind each
 * part: between the second and the last it must not grow.
 */
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { startGatewatch } from '../src/gatewatch/gatewatch.ts'

const PARTS = 10
const AT_ONCE = 40
const MODELS = ['m-1', 'm-2', 'm-3']

const [users = '1000', calls = '30'] = process.argv.slice(2)
const { gc } = globalThis
if (gc) await measure(Number(users), Number(calls), gc)
else spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), users, calls], { stdio: 'inherit' })

async function measure(userCount: number, callCount: number, collect: () => void): Promise<void> {
  let answered = 0
  const server = createServer((request, response) => {
    answered += 1
    request.resume().on('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ access_token: `access-${answered}`, expires_in: 3_600 }))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const watch = await startGatewatch({ environment: {}, labels: { drop: ['profile'] } })
  const post = (path: string, body: string) => fetch(`${url}${path}`, { method: 'POST', body })
  const refresh = watch.wrapRefresh(async (id: string) => (await post('/token', `grant_type=refresh_token&refresh_token=${id}`)).json(), {
    provider: 'acme',
    tokenUrl: `${url}/token`,
    profile: id => id,
    reason: 'expired',
  })
  const call = watch.wrapCall((_id: string, model: string) => post('/chat', model), {
    provider: 'acme',
    profile: id => id,
    model: (_id, model) => model,
  })
  const heaps: number[] = []
  for (let part = 0; part < PARTS; part += 1) {
    let next = 0
    const serve = async () => {
      while (next < userCount) {
        const id = `user-${next++}@acme.example`
        await refresh(id)
        for (let index = 0; index < callCount / PARTS; index += 1) await (await call(id, MODELS[index % MODELS.length] ?? '')).arrayBuffer()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, serve))
    const scrape = (await watch.metrics()).body.length
    collect()
    const heap = process.memoryUsage().heapUsed
    heaps.push(heap)
    process.stdout.write(`part ${part + 1}: heap ${(heap / 1024 / 1024).toFixed(1)} MiB, scrape ${(scrape / 1000).toFixed(0)} kB\n`)
  }
  process.stdout.write(`heap of the last part to that of the second: ${((heaps.at(-1) ?? 0) / (heaps[1] ?? 1)).toFixed(2)}\n`)
  await watch.close()
  server.closeAllConnections()
  server.close()
}
