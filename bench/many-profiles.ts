/**
 * What a refresh costs with many stored profiles, in a Gatewatch process of its own, for 50 profiles and for many:
 * `node bench/many-profiles.ts [profiles] [at once]` (5,000 and 300). One refresh alone is measured, then many profiles refreshed
 * at once. The token endpoint answers in the process that measures. Each run is bounded and uses a temporary folder.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StoredProfile } from '../src/domain/credential.ts'
import { startGatewatch } from '../src/gatewatch/gatewatch.ts'
import { fileStore } from '../src/store/file-store.ts'
import { median } from './statistics.ts'

interface Cost {
  readonly profiles: number
  /** One refresh alone: wall time, processor time of the process, in ms. Medians. */
  readonly isolatedMs: number
  readonly isolatedProcessorMs: number
  /** Many at once: all of them in ms, processor time for each, the longest time the event loop stood still. */
  readonly crowdMs: number
  readonly crowdProcessorMs: number
  readonly loopStoodMs: number
  readonly residentBytes: number
}

const ISOLATED = 20
const FEW = 50
const [first = '', ...rest] = process.argv.slice(2)
if (first === 'measured') await measured(rest[0] ?? '', rest[1] ?? '', Number(rest[2]), Number(rest[3]))
else await measure(Number(first || 5_000), Number(rest[0] ?? 300))

async function measure(profiles: number, atOnce: number): Promise<void> {
  let issued = 0
  const endpoint = createServer((request, response) => {
    request.resume().on('end', () => {
      issued += 1
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ access_token: `access-${issued}-${'a'.repeat(1_200)}`, refresh_token: `refresh-${issued}`, expires_in: 3_600 }),
      )
    })
  })
  endpoint.listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/token`
  const few = await inProcess(url, FEW, Math.min(atOnce, FEW))
  const many = await inProcess(url, profiles, atOnce)
  endpoint.close()
  endpoint.closeAllConnections()
  for (const cost of [few, many]) process.stdout.write(`${lineOf(cost)}\n`)
  const ratio = (of: (cost: Cost) => number) => (of(many) / of(few)).toFixed(2)
  process.stdout.write(
    `${profiles} profiles / ${FEW}: ${ratio(cost => cost.isolatedMs)} of the time and ${ratio(cost => cost.isolatedProcessorMs)} of the processor time of one refresh\n`,
  )
}

function lineOf({ profiles, isolatedMs, isolatedProcessorMs, crowdMs, crowdProcessorMs, loopStoodMs, residentBytes }: Cost): string {
  return [
    `${profiles} profiles:`,
    `one refresh ${isolatedMs.toFixed(1)} ms (processor ${isolatedProcessorMs.toFixed(1)} ms);`,
    `crowd ${crowdMs.toFixed(0)} ms (processor ${crowdProcessorMs.toFixed(1)} ms each, loop stood still ${loopStoodMs.toFixed(0)} ms);`,
    `resident ${(residentBytes / 1024 / 1024).toFixed(0)} MiB`,
  ].join(' ')
}

async function inProcess(url: string, profiles: number, atOnce: number): Promise<Cost> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
  try {
    await fill(join(folder, 'state'), profiles)
    const child = fork(fileURLToPath(import.meta.url), ['measured', join(folder, 'state'), url, String(profiles), String(atOnce)])
    const [cost] = await Promise.race([
      once(child, 'message') as Promise<[Cost]>,
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`the measured process ended with ${code}`))),
    ])
    await once(child, 'exit')
    return cost
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measured(folder: string, tokenUrl: string, profiles: number, atOnce: number): Promise<void> {
  const store = fileStore(folder)
  const watch = await startGatewatch({
    store,
    environment: {},
    providers: { bench: { baseUrl: new URL('/v1', tokenUrl).href, tokenUrl, clientId: 'bench' } },
  })
  const refresh = (index: number) => watch.acquireToken({ profile: `bench:${index}`, reason: 'operator' })
  await watch.profiles()
  await refresh(0)
  const alone: { ms: number; processorMs: number }[] = []
  for (let round = 0; round < ISOLATED; round += 1) {
    const usage = process.cpuUsage()
    const beganAt = performance.now()
    await refresh(round % profiles)
    const { user, system } = process.cpuUsage(usage)
    alone.push({ ms: performance.now() - beganAt, processorMs: (user + system) / 1_000 })
  }
  let loopStoodMs = 0
  let lastTurn = performance.now()
  const turns = setInterval(() => {
    loopStoodMs = Math.max(loopStoodMs, performance.now() - lastTurn)
    lastTurn = performance.now()
  }, 1)
  const usage = process.cpuUsage()
  const beganAt = performance.now()
  await Promise.all(Array.from({ length: atOnce }, (_, index) => refresh(index % profiles)))
  const crowdMs = performance.now() - beganAt
  const { user, system } = process.cpuUsage(usage)
  clearInterval(turns)
  await watch.profiles()
  const cost: Cost = {
    profiles,
    isolatedMs: median(alone.map(({ ms }) => ms)),
    isolatedProcessorMs: median(alone.map(({ processorMs }) => processorMs)),
    crowdMs,
    crowdProcessorMs: (user + system) / 1_000 / atOnce,
    loopStoodMs,
    residentBytes: process.resourceUsage().maxRSS * 1024,
  }
  await watch.close()
  process.send?.(cost)
  process.disconnect()
}

/** Stores the profiles as an earlier Gatewatch did, in one file: thousands of single changes would measure the filling. */
async function fill(folder: string, profiles: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const stored = Array.from({ length: profiles }, (_, index): [string, StoredProfile] => {
    const id = `bench:${index}`
    const credential = {
      type: 'oauth',
      access: `access-of-${index}-${'a'.repeat(1_200)}`,
      refresh: `refresh-of-${index}-${'r'.repeat(100)}`,
      expiresAt: Date.now() + 3_600_000,
      generation: 1,
    } as const
    return [id, { id, provider: 'bench', credential }]
  })
  const content = { format: 'gatewatch-profiles', version: 1, revision: 1, profiles: Object.fromEntries(stored) }
  await writeFile(join(folder, 'profiles.json'), JSON.stringify(content), { mode: 0o600 })
  const store = fileStore(folder)
  await store.list()
  await store.close()
}
