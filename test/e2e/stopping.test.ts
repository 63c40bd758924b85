import diagnostics from 'node:diagnostics_channel'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type CallOptions, type StartOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { codexLogin, eventually, gatewayWorld, OPENAI_PROFILE, storedKey } from '../support/gateway-world.ts'

// Seen: stop() left the servers of serve() listening, closed a store that it had been given, ended at the first step that
// failed; a start that failed kept what it had started. Why: each place had a list of its own. Fix: one list of steps, filled
// while starting and run whole, last come first. Issue "1 of 6", point A10.

const CHAT: CallOptions = { protocol: 'chat_completions', model: 'gpt-5.5', body: { model: 'gpt-5.5', messages: [] } }
const CHANNELS = ['undici:request:create', 'http.client.request.created']

function isWatching(): boolean {
  return CHANNELS.some(name => diagnostics.channel(name).hasSubscribers)
}

/** The port of a program that was there first. */
async function takenPort(): Promise<number> {
  const squatter = createServer().listen(0, '127.0.0.1')
  afterwards(() => squatter.close())
  return eventually(() => (squatter.address() as AddressInfo).port)
}

/** A store whose profiles cannot be listed. */
function badStore(): ProfileStore {
  return { ...memoryStore(), list: () => Promise.reject(new RangeError('cannot be listed')) }
}

describe('stop', () => {
  it('ends the servers that serve started, and answers what was asked before', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const second = await serveGatewatch(w.watch)
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    const waiting = w.chat()
    await eventually(() => expect(hanging.hits()).toBe(1))
    await w.watch.close(100)
    expect(await waiting).toMatchObject({ status: 503, json: { error: { code: 'GW_CLOSED', next: 'try_again_later' } } })
    for (const url of [w.url, second.url]) await expect(fetch(`${url}/healthz`)).rejects.toThrow()
  })

  it('ends a server that is about to listen', async () => {
    const watch = await startGatewatch({ listen: { port: 0 }, environment: {} })
    const serving = serveGatewatch(watch)
    await watch.close(0)
    await expect(fetch(`${(await serving).url}/healthz`)).rejects.toThrow()
  })

  it('leaves a store open that it was given', async () => {
    const store = memoryStore([storedKey('openai:default', 'sk-of-a-test-0001')])
    for (const round of [1, 2]) {
      const watch = await startGatewatch({ store, environment: {} })
      expect(await watch.profiles(), `round ${round}`).toHaveLength(1)
      await watch.close()
    }
    expect(await store.list()).toHaveLength(1)
  })

  it('does all its steps, whatever one of them throws, and throws that at the end', async () => {
    const closed: string[] = []
    const watch = await startGatewatch({ listen: { port: 0 }, environment: {} })
    const { url } = await serveGatewatch(watch)
    // The first step is to clear a timer: one that cannot be cleared is the only fault that can be made from outside.
    const { clearInterval: before } = globalThis
    const fault = new RangeError('no timer is cleared today')
    globalThis.clearInterval = () => {
      closed.push('asked')
      globalThis.clearInterval = before
      throw fault
    }
    const error = await watch.close(0).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ errors: [fault], message: expect.stringMatching(/^Gatewatch stops: 1 of \d+ steps failed \(gauges\)/) })
    expect(closed).toEqual(['asked'])
    await expect(fetch(`${url}/healthz`)).rejects.toThrow()
    await expect(watch.metrics()).rejects.toMatchObject({ code: 'GW_CLOSED' })
    expect(isWatching()).toBe(false)
  })

  it('is one stop, however often it is asked for', async () => {
    const watch = await startGatewatch({ environment: {} })
    expect(watch.close()).toBe(watch.close())
    await watch[Symbol.asyncDispose]()
  })

  it('comes at the end of a block for Gatewatch and for its server', async () => {
    let urls: string[] = []
    {
      await using watch = await startGatewatch({ listen: { port: 0 }, environment: {} })
      await using serving = await serveGatewatch(watch)
      const other = await serveGatewatch(watch)
      urls = [serving.url, other.url]
      expect((await fetch(`${other.url}/healthz`, { headers: { connection: 'close' } })).status).toBe(200)
    }
    for (const url of urls) await expect(fetch(`${url}/healthz`)).rejects.toThrow()
    expect(isWatching()).toBe(false)
  })

  it('gives a call in code up, and takes none after that', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE, stored: simulator => [codexLogin(simulator, 'me')] })
    const hanging = w.simulator.inject({ where: 'provider', hang: true })
    const waiting = w.watch.call(CHAT)
    await eventually(() => expect(hanging.hits()).toBe(1))
    const stopping = w.watch.close(0)
    await expect(waiting).rejects.toMatchObject({ code: 'GW_CLOSED', next: 'try_again_later' })
    await stopping
    for (const late of [
      w.watch.call(CHAT),
      w.watch.acquireToken({ profile: 'openai-codex:me', reason: 'forced' }),
      w.watch.probe(),
      serveGatewatch(w.watch),
    ])
      await expect(late).rejects.toMatchObject({ code: 'GW_CLOSED', next: 'nothing' })
  })

  it('leaves the functions that were wrapped as they are', async () => {
    const watch = await startGatewatch({ environment: {} })
    const refresh = watch.wrapRefresh(async () => 'fresh', { provider: 'openai-codex', profile: () => 'openai-codex:me' })
    const send = watch.wrapCall(async () => 'answer', { provider: 'openai' })
    await watch.close()
    expect([await refresh(), await send()]).toEqual(['fresh', 'answer'])
  })
})

describe('a start that failed', () => {
  it.each<[string, () => StartOptions]>([
    ['because the store cannot be read', () => ({ store: badStore() })],
    ['because the order names no profile', () => ({ order: ['missing'] })],
    ['because a provider cannot be used', () => ({ providers: { corp: {} } })],
    ['because a profile has no provider', () => ({ profiles: { me: { provider: 'missing' } } })],
  ])('%s leaves nothing of it', async (_why, options) => {
    const before = process.listenerCount('exit')
    await expect(startGatewatch({ environment: {}, recordIn: stateFolder(), ...options() })).rejects.toThrow()
    expect(isWatching()).toBe(false)
    expect(process.listenerCount('exit')).toBe(before)
  })

  it('because the port is taken lets Gatewatch go on, and stop', async () => {
    const watch = await startGatewatch({ listen: { port: await takenPort() }, environment: {} })
    await expect(serveGatewatch(watch)).rejects.toMatchObject({ code: 'GW_CONFIG' })
    expect((await watch.metrics()).body).toContain('target_info')
    await watch.close()
    expect(isWatching()).toBe(false)
  })

  it('of the demo, because the port is taken, leaves no folder and no process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gatewatch-demo-start-'))
    afterwards(() => rmSync(folder, { recursive: true, force: true }))
    const { child, ended } = runCli(['demo', '--port', String(await takenPort())], { environment: { TMPDIR: folder } })
    afterwards(() => child.kill('SIGKILL'))
    expect(await ended).toMatchObject({ code: 64, stderr: expect.stringContaining('cannot be bound (EADDRINUSE)') })
    expect(readdirSync(folder)).toEqual([])
  })
})
