import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LockDatabase } from '../../src/store/process-lock.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { PROFILE, world } from '../support/world.ts'
import { openStore } from './open-store.ts'

function lockDatabase(path: string): LockDatabase {
  const database = new LockDatabase(path)
  afterwards(() => database.close())
  return database
}

// Seen: each lease cost eight fsyncs on the main thread, and the callers of a refresh waited for its release.
// Why: the lease table was written as durably as data; the refresh awaited `lease.release()`.
// The fix: lock files are never flushed, and the release goes on in the background.
// Issue 1, C7.
describe('a file of locks', () => {
  it('is never flushed to the disk', () => {
    const database = lockDatabase(join(stateFolder(), 'leases.sqlite'))
    expect(database.tryBegin()?.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 0 })
  })

  it('that a power failure damaged is moved away: it is older than the start of this machine', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const path = join(folder, 'leases.sqlite')
    writeFileSync(path, 'half a database')
    const beforeStart = Date.now() / 1000 - uptime() - 60
    utimesSync(path, beforeStart, beforeStart)
    expect((await openStore(folder).lease('a', { waitMs: 1_000 })).lost.aborted).toBe(false)
    expect(readFileSync(`${path}.damaged`, 'utf8')).toBe('half a database')
  })
})

describe('callers of a refresh', () => {
  it('get their token while another process keeps the lease table busy', async () => {
    const folder = stateFolder()
    const other = lockDatabase(join(folder, 'leases.sqlite'))
    const w = await world({
      store: openStore(folder, { leaseTtlMs: 600_000 }),
      onStep: step => (step === 'published' ? expect(other.tryBegin()).toBeDefined() : undefined),
    })
    await w.signIn()
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    other.close()
    await expect
      .poll(() =>
        w.store.lease(PROFILE, { waitMs: 0 }).then(
          () => 'free',
          () => 'held',
        ),
      )
      .toBe('free')
  })
})
