import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LeaseKeeper, LeaseTable } from '../../src/store/lease-keeper.ts'
import { startChild } from '../support/child-process.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { openStore } from './open-store.ts'

const ID = 'openai-codex:me@example.com'
const TTL_MS = 30_000

/** A keeper whose clocks are in our hand: one stands still while the machine sleeps, one goes on. */
function keeperWorld() {
  const folder = stateFolder()
  mkdirSync(folder)
  const clock = { monotonic: 0, sleepless: 0 }
  const options = { ttlMs: TTL_MS, monotonic: () => clock.monotonic, sleepless: () => clock.sleepless }
  const keeper = new LeaseKeeper(new LeaseTable(join(folder, 'leases.sqlite'), options), options)
  afterwards(() => keeper.close())
  return { folder, clock, keeper }
}

// Seen: a lease counted as held because the monotonic clock stands still while a machine is suspended, so that a refresh
// sent what it had read before the machine slept. Fix: the last beat is taken by a clock that goes on as well.
// Issue 1 of 6, C1.
describe('a lease that is confirmed', () => {
  it('after the machine slept for longer than its time to live does not hold what was read before, and holds again', async () => {
    const { keeper, clock } = keeperWorld()
    const lease = await keeper.lease(ID, { waitMs: 0 })
    clock.sleepless += 60_000
    expect([lease.confirm(), lease.lost.aborted]).toEqual([false, false])
    expect(lease.confirm()).toBe(true)
  })

  it('after the process was stopped for that long, likewise', async () => {
    const { keeper, clock } = keeperWorld()
    const lease = await keeper.lease(ID, { waitMs: 0 })
    clock.monotonic += TTL_MS
    clock.sleepless += TTL_MS
    expect([lease.confirm(), lease.confirm()]).toEqual([false, true])
  })

  it('while another process is changing the table is waited for, and not confirmed when that lasts', async () => {
    const { keeper, clock, folder } = keeperWorld()
    const lease = await keeper.lease(ID, { waitMs: 0 })
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    const other = new DatabaseSync(join(folder, 'leases.sqlite'))
    other.exec('BEGIN IMMEDIATE')
    const [then, begun] = [clock.monotonic, performance.now()]
    Object.defineProperty(clock, 'monotonic', { get: () => then + performance.now() - begun })
    expect([lease.confirm(), lease.lost.aborted]).toEqual([false, false])
    other.exec('ROLLBACK')
    other.close()
    expect(lease.confirm()).toBe(true)
  })

  it('is lost at once when another process has it', async () => {
    const folder = stateFolder()
    const holder = startChild(new URL('./fixtures/hold-lease.ts', import.meta.url), folder, ID, '600')
    expect(await holder.line()).toBe('held free')
    holder.signal('SIGSTOP')
    const lease = await openStore(folder, { leaseTtlMs: 600 }).lease(ID, { waitMs: 20_000 })
    expect([lease.confirm(), lease.takenFrom, lease.mayGoOn()]).toEqual([true, holder.pid, false])
    holder.say('confirm\n')
    holder.signal('SIGCONT')
    expect([await holder.line(), await holder.line()].sort()).toEqual(['confirmed false', 'lost'])
  })
})

describe('a lease that was taken', () => {
  it('from one who had confirmed it and fell silent says that he may go on, until he is dead', async () => {
    const folder = stateFolder()
    const holder = startChild(new URL('./fixtures/hold-lease.ts', import.meta.url), folder, ID, '600')
    expect(await holder.line()).toBe('held free')
    holder.say('confirm\n')
    expect(await holder.line()).toBe('confirmed true')
    holder.signal('SIGSTOP')
    const lease = await openStore(folder, { leaseTtlMs: 600 }).lease(ID, { waitMs: 20_000 })
    expect(lease.mayGoOn()).toBe(true)
    holder.signal('SIGKILL')
    await holder.ended
    expect(lease.mayGoOn()).toBe(false)
  })

  it('in a table of an earlier version is one like any other', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    const earlier = new DatabaseSync(join(folder, 'leases.sqlite'))
    earlier.exec(`CREATE TABLE leases (
      key TEXT PRIMARY KEY, holder TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL, started TEXT NOT NULL,
      beat INTEGER NOT NULL, ttl_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`)
    earlier.close()
    const lease = await openStore(folder).lease(ID, { waitMs: 0 })
    expect([lease.confirm(), lease.mayGoOn()]).toEqual([true, false])
  })
})
