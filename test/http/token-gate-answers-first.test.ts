// The gate named the process of its client, by up to five seconds of /proc, before it answered (issue 1, point B6).
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { context } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import express from 'express'
import { expect, it } from 'vitest'
import { ATTR_CLIENT_PROCESS } from '../../otel/names.ts'
import { Gateway } from '../../src/gateway.ts'
import { InboundKeys } from '../../src/http/inbound-keys.ts'
import { requestSpans } from '../../src/http/request-span.ts'
import { tokenGate } from '../../src/http/token-gate.ts'
import { PeerNames } from '../../src/http/token-gate-peer.ts'
import { parseSettings } from '../../src/options.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { atTheEnd, eventually } from '../support/gateway-world.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

it('a client has its answer while its process is still looked for, and the span gets the name', async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  atTheEnd(async () => context.disable())
  const peer = Promise.withResolvers<string | undefined>()
  const credential = {
    type: 'oauth',
    access: 'at-1',
    refresh: 'rt-1-0123456789',
    expiresAt: Date.now() + 3_600_000,
    generation: 0,
  } as const
  const store = memoryStore([{ id: 'anthropic:me', provider: 'anthropic', credential }])
  const { telemetry, spans } = observedTelemetry()
  const gateway = new Gateway({ settings: parseSettings({}, 'test'), store, telemetry, environment: {}, source: 'test' })
  atTheEnd(() => gateway.stop())
  const app = express()
  app.use(requestSpans(telemetry))
  app.use(tokenGate(gateway, new InboundKeys([]), () => peer.promise))
  const server = createServer(app)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  atTheEnd(async () => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/oauth/anthropic/token`
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: credential.refresh })
  const answer = await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })
  expect(await answer.json()).toMatchObject({ access_token: 'at-1' })
  expect(spans('POST /oauth/:provider/token')).toEqual([])
  peer.resolve('late-name')
  const span = await eventually(() => {
    const [found] = spans('POST /oauth/:provider/token')
    if (!found) throw new Error('the span has not ended')
    return found
  })
  expect(span.attributes[ATTR_CLIENT_PROCESS]).toBe('late-name')
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
