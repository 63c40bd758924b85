import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isDead, thisProcess } from '../../src/store/process-identity.ts'
import { startChild } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { generationOf, rotate } from './fixtures/rotate.ts'
import { stored } from './fixtures/stored.ts'
import { openStore } from './open-store.ts'

const ID = 'openai-codex:me@example.com'
/** Far longer than any test: what goes on nevertheless did not wait for it. */
const LONG_TTL_MS = 600_000

const fixture = (script: string): URL => new URL(`./fixtures/${script}`, import.meta.url)

describe('several processes change profiles at once', () => {
  it.each([
    ['two processes, one profile', ['a', 'a'], { a: 100 }],
    ['two processes, a profile each', ['a', 'b'], { a: 50, b: 50 }],
    ['four processes, one profile', ['a', 'a', 'a', 'a'], { a: 200 }],
    ['four processes, two profiles', ['a', 'b', 'a', 'b'], { a: 100, b: 100 }],
  ])('%s, fifty changes each: none is lost', async (_, names, expected) => {
    const folder = stateFolder()
    const processes = names.map(profile => startChild(fixture('change-many.ts'), folder, profile, '50'))
    for (const one of processes) expect(await one.line()).toBe('ready')
    for (const one of processes) one.goOn()
    for (const one of processes) expect(await one.line()).toBe('done')
    const profiles = await openStore(folder).list()
    expect(Object.fromEntries(profiles.map(profile => [profile.id, generationOf(profile)]))).toEqual(expected)
    expect(stored(folder).revision).toBe(names.length * 50)
  })
})

describe('a process is killed', () => {
  it.each([
    ['inside the exclusion, before anything was written', 'update', 1],
    ['after the next state was written, before it was committed', 'written', 1],
    ['after the next state was committed', 'committed', 2],
  ])('%s: the next one goes on with the right content', async (_, step, generation) => {
    const folder = stateFolder()
    await openStore(folder).change(ID, rotate(ID))
    expect(await startChild(fixture('die-in-change.ts'), folder, ID, step).ended).toBe('SIGKILL')
    expect(generationOf(await openStore(folder).reload(ID))).toBe(generation)
    expect(generationOf(await openStore(folder, { changeWaitMs: 5_000 }).change(ID, rotate(ID)))).toBe(generation + 1)
  })

  it('in the very first change, once it was committed: the profile is there', async () => {
    const folder = stateFolder()
    expect(await startChild(fixture('die-in-change.ts'), folder, ID, 'committed').ended).toBe('SIGKILL')
    expect(generationOf(await openStore(folder).read(ID))).toBe(1)
  })

  it('in the middle of many changes, at any moment: what was acknowledged is there', async () => {
    const folder = stateFolder()
    let acknowledged = 0
    for (let kill = 0; kill < 5; kill += 1) {
      const writer = startChild(fixture('change-and-count.ts'), folder, ID)
      for (let line = 0; line < 3 + kill * 7; line += 1) acknowledged = Number(await writer.line())
      writer.signal('SIGKILL')
      const { stdout } = await writer.exit
      acknowledged = Math.max(acknowledged, ...stdout.trim().split('\n').map(Number))
      const { profiles } = stored(folder)
      const generation = generationOf(profiles[0])
      expect([acknowledged, acknowledged + 1]).toContain(generation)
      acknowledged = generation
    }
  })

  it('while it holds a lease: the next one takes it at once and names the process it came from', async () => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, String(LONG_TTL_MS))
    expect(await holder.line()).toBe('held free')
    const store = openStore(folder, { leaseTtlMs: LONG_TTL_MS })
    const error = await store.lease(ID, { waitMs: 50 }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
    expect(String(error)).toContain(`process ${holder.pid}`)
    const waiting = store.lease(ID, { waitMs: 20_000 })
    holder.signal('SIGKILL')
    expect((await waiting).takenFrom).toBe(holder.pid)
  })
})

describe('a process is stopped inside a change', () => {
  it('the others do not touch what it prepared, say that it hangs, and it ends its change when it goes on', async () => {
    const folder = stateFolder()
    await openStore(folder).change(ID, rotate(ID))
    const stopped = startChild(fixture('die-in-change.ts'), folder, ID, 'written', 'SIGSTOP')
    expect(await stopped.line()).toBe('at written')
    const store = openStore(folder, { changeWaitMs: 200 })
    for (const attempt of [() => store.change(ID, rotate(ID)), () => store.reload(ID)]) {
      await expect(attempt()).rejects.toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'try_again_later' })
    }
    stopped.signal('SIGCONT')
    expect(await stopped.line()).toBe('survived')
    expect(generationOf(await store.reload(ID))).toBe(2)
    expect(generationOf(await store.change(ID, rotate(ID)))).toBe(3)
  })
})

describe('a lease between processes', () => {
  it('passes on when it is released, and was not taken from anybody then', async () => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, String(LONG_TTL_MS))
    expect(await holder.line()).toBe('held free')
    const waiting = openStore(folder, { leaseTtlMs: LONG_TTL_MS }).lease(ID, { waitMs: 20_000 })
    holder.goOn()
    expect(await holder.line()).toBe('released')
    expect((await waiting).takenFrom).toBeUndefined()
  })

  it('stays with a living holder beyond its time to live, though his clock stands ten years ahead', async () => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, '3000', String(Date.now() + 3.15e11))
    expect(await holder.line()).toBe('held free')
    await expect(openStore(folder, { leaseTtlMs: 3_000 }).lease(ID, { waitMs: 5_000 })).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
    holder.goOn()
    expect(await holder.line()).toBe('released')
  })

  it('is taken from a holder that was stopped, who learns of it when he goes on and cannot give away what is not his', async () => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, '600')
    expect(await holder.line()).toBe('held free')
    holder.signal('SIGSTOP')
    const store = openStore(folder, { leaseTtlMs: 600 })
    const lease = await store.lease(ID, { waitMs: 20_000 })
    expect(lease.takenFrom).toBe(holder.pid)
    holder.signal('SIGCONT')
    expect(await holder.line()).toBe('lost')
    holder.goOn()
    expect(await holder.line()).toBe('released')
    await expect(store.lease(ID, { waitMs: 20 })).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
    expect(lease.lost.aborted).toBe(false)
  })

  it.each([
    ['ten years ahead', Date.now() + 3.15e11],
    ['at the beginning of time', 0],
  ])('is taken from a stopped holder whose clock stands %s', async (_, wallClock) => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, '600', String(wallClock))
    expect(await holder.line()).toBe('held free')
    holder.signal('SIGSTOP')
    expect((await openStore(folder, { leaseTtlMs: 600 }).lease(ID, { waitMs: 20_000 })).takenFrom).toBe(holder.pid)
  })

  it('is lost when its file is removed', async () => {
    const folder = stateFolder()
    const holder = startChild(fixture('hold-lease.ts'), folder, ID, '600')
    expect(await holder.line()).toBe('held free')
    rmSync(join(folder, 'leases.sqlite'))
    expect(await holder.line()).toBe('lost')
  })
})

describe('a lease whose row was left behind', () => {
  /** Writes a row by hand, as a process would have left it. */
  function leaveRow(folder: string, row: { pid: number; host: string; started: string; ttlMs: number }) {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    const database = new DatabaseSync(join(folder, 'leases.sqlite'))
    database
      .prepare('UPDATE leases SET holder = ?, pid = ?, host = ?, started = ?, ttl_ms = ?, beat = 9007199254740991')
      .run('left behind', row.pid, row.host, row.started, row.ttlMs)
    database.close()
  }

  /** A store whose table has one row, and a clock in our hand. */
  async function world() {
    const folder = stateFolder()
    mkdirSync(folder)
    const clock = { now: 0, monotonic: () => clock.now }
    const first = openStore(folder)
    await first.lease(ID, { waitMs: 0 })
    return { folder, clock, store: openStore(folder, { clock, leaseTtlMs: 30_000 }) }
  }

  it('by a process whose pid now belongs to another one is taken at once', async () => {
    const { folder, store } = await world()
    leaveRow(folder, { ...thisProcess(), started: '1', ttlMs: 30_000 })
    expect((await store.lease(ID, { waitMs: 0 })).takenFrom).toBe(process.pid)
  })

  it('by a process on another host is taken when it was seen silent for its whole time to live, over several waits', async () => {
    const { folder, store, clock } = await world()
    leaveRow(folder, { ...thisProcess(), host: 'elsewhere', pid: 1, ttlMs: 30_000 })
    for (const now of [0, 10_000, 20_000]) {
      clock.now = now
      const error = await store.lease(ID, { waitMs: 0 }).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
      expect(String(error)).toContain('process 1 on elsewhere')
    }
    clock.now = 30_000
    expect((await store.lease(ID, { waitMs: 0 })).takenFrom).toBe(1)
  })

  it('is not taken because we ourselves were stopped for a day: the holder may have been stopped with us', async () => {
    const { folder, store, clock } = await world()
    leaveRow(folder, { ...thisProcess(), host: 'elsewhere', pid: 1, ttlMs: 30_000 })
    await expect(store.lease(ID, { waitMs: 0 })).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
    clock.now = 86_400_000
    await expect(store.lease(ID, { waitMs: 0 })).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
  })
})

describe('whether a process is dead', () => {
  it('is said of one that ended, not of one that lives or runs elsewhere', async () => {
    const ended = startChild(fixture('hold-lease.ts'), stateFolder(), ID, '600')
    await ended.line()
    ended.signal('SIGKILL')
    await ended.ended
    const self = thisProcess()
    expect(isDead(self)).toBe(false)
    expect(isDead({ ...self, pid: ended.pid })).toBe(true)
    expect(isDead({ ...self, pid: ended.pid, host: 'elsewhere' })).toBe(false)
    expect(isDead({ ...self, started: '' })).toBe(false)
  })
})
