// The gate named the process of its client, by up to five seconds of /proc, before it answered (issue 1, point B6).
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import express from 'express'
import { expect, it } from 'vitest'
import { ATTR_CLIENT_PROCESS } from '../../otel/semconv.ts'
import { Gateway } from '../../src/gatewatch/gateway.ts'
import { InboundKeys } from '../../src/server/inbound-keys.ts'
import { requestSpans } from '../../src/server/request-span.ts'
import { tokenGate } from '../../src/server/token-gate.ts'
import { PeerNames, peerProcess } from '../../src/server/token-gate-peer.ts'
import { parseSettings } from '../../src/settings/options.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { atTheEnd, eventually } from '../support/gateway-world.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

const CREDENTIAL = {
  type: 'oauth',
  access: 'at-1',
  refresh: 'rt-1-0123456789',
  expiresAt: Date.now() + 3_600_000,
  generation: 0,
} as const
const ROUTE = 'POST /oauth/:provider/token'

/** A token gate that names its clients so, and a client of it that ends its connection with the answer. */
async function gateWorld(peers: PeerNames) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  atTheEnd(async () => context.disable())
  const store = memoryStore([{ id: 'anthropic:me', provider: 'anthropic', credential: CREDENTIAL }])
  const { telemetry, spans } = observedTelemetry()
  const gateway = new Gateway({ settings: parseSettings({}, 'test'), store, telemetry, environment: {}, source: 'test' })
  atTheEnd(() => gateway.stop())
  const app = express()
  app.use(requestSpans(telemetry))
  app.use(tokenGate(gateway, new InboundKeys([]), peers))
  const server = createServer(app)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  atTheEnd(async () => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/oauth/anthropic/token`
  const refresh = async (token: string = CREDENTIAL.refresh) => {
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token })
    const answer = await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })
    return { status: answer.status, json: await answer.json() }
  }
  const ended = (count: number) =>
    eventually(() => {
      const found = spans(ROUTE)
      if (found.length < count) throw new Error(`${found.length} spans of ${count} have ended`)
      return found
    })
  return { refresh, ended, spans: () => spans(ROUTE) }
}

it('a client has its answer while its process is still looked for, and the span gets the name', async () => {
  const peer = Promise.withResolvers<string | undefined>()
  const w = await gateWorld(new PeerNames(() => peer.promise))
  expect((await w.refresh()).json).toMatchObject({ access_token: 'at-1' })
  expect(w.spans()).toEqual([])
  peer.resolve('late-name')
  expect((await w.ended(1))[0]?.attributes[ATTR_CLIENT_PROCESS]).toBe('late-name')
})

// Seen: in CI the span of the Codex CLI lacked the process now and then. Why: it was looked for after the answer, when the
// client had closed the connection that it is found by. Fix: the answer waits for it, for 250 ms. Issue "1 of 6", point B6.
it.runIf(process.platform === 'linux')(
  'a client that leaves with its answer is named every time, however long the search takes',
  async () => {
    const turns = async () => {
      for (let turn = 0; turn < 20; turn += 1) await nextTurn()
    }
    const w = await gateWorld(new PeerNames(peer => turns().then(() => peerProcess(peer)), { monotonic: () => 0, wait: forever }))
    for (let round = 0; round < 5; round += 1) expect((await w.refresh()).status).toBe(200)
    const names = (await w.ended(5)).map(({ attributes }) => attributes[ATTR_CLIENT_PROCESS])
    expect(names.filter(name => typeof name !== 'string')).toEqual([])
  },
)

it('an answer waits for the name of its client for a quarter of a second by the clock, and for a second on a machine that stands still', async () => {
  for (const [standstillMs, steps] of [
    [0, 10],
    [400, 3],
  ] as const) {
    let now = 0
    const waits: number[] = []
    const clock = {
      monotonic: () => now,
      wait: async (ms: number) => {
        waits.push(ms)
        now += ms + standstillMs
      },
    }
    const peers = new PeerNames(() => forever(), clock)
    const connection = {}
    await peers.searched(connection)
    expect(waits).toEqual([])
    peers.find(connection)
    await peers.searched(connection)
    expect(waits).toEqual(Array(steps).fill(25))
  }
})

it('a guess is answered at once, and past the limit no process is looked for', async () => {
  let searches = 0
  const peers = new PeerNames(
    async () => {
      searches += 1
      return 'guesser'
    },
    { monotonic: () => 0, wait: forever },
  )
  const w = await gateWorld(peers)
  const statuses: number[] = []
  for (let guess = 0; guess < 13; guess += 1) statuses.push((await w.refresh(`rt-guess-0123456789-${guess}`)).status)
  expect(statuses).toEqual([...Array(10).fill(400), 429, 429, 429])
  expect(searches).toBe(10)
})

it('a few processes are looked for at once, and each connection once', async () => {
  const searches: ((name: string | undefined) => void)[] = []
  const peers = new PeerNames(() => new Promise(resolve => searches.push(resolve)))
  const connections = Array.from({ length: 6 }, () => ({}))
  const found = connections.map(connection => peers.find(connection))
  expect(searches).toHaveLength(4)
  expect(await Promise.all(found.slice(4))).toEqual([undefined, undefined])
  for (const [index, resolve] of searches.entries()) resolve(`p${index}`)
  expect(await Promise.all(found.slice(0, 4))).toEqual(['p0', 'p1', 'p2', 'p3'])
  expect(await peers.find(connections[1] ?? {})).toBe('p1')
  expect([peers.known(connections[1] ?? {}), peers.known(connections[5] ?? {})]).toEqual(['p1', undefined])
  expect(searches).toHaveLength(4)
})

function forever(): Promise<never> {
  return new Promise(() => {})
}
