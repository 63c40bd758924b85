// Seen: a fault in telemetry or in the store, while a refresh was noted or its lease given back, left the refresh in the
// gate's table: every later acquisition of the profile joined it and waited for ever. Why: the table was cleared after what could
// throw. Fix: the refresh leaves the table first, what notes is guarded. Issue 1 of 6, C4.
import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'
import { world } from '../support/world.ts'

describe('a refresh that ends', () => {
  it('gives its acquisitions the token, and makes room for the next one, when it cannot be measured', async () => {
    const w = await world()
    await w.signIn()
    const { instruments } = w.telemetry
    const record = instruments.record.bind(instruments)
    instruments.record = (key, ...rest) => {
      if (key === 'refreshDuration') throw new Error('the meter is broken')
      record(key, ...rest)
    }
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({
      outcome: 'rotated',
      profile: { credential: { generation: 2 } },
    })
  })

  it('gives its acquisitions the token, and makes room for the next one, when its lease cannot be given back', async () => {
    const store = new BreakableStore(memoryStore())
    const w = await world({ store })
    await w.signIn()
    const lend = store.lease.bind(store)
    store.lease = async (...parameters) => {
      const lease = await lend(...parameters)
      return {
        ...lease,
        release: async () => {
          await lease.release()
          throw new Error('the table is gone')
        },
      }
    }
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({
      outcome: 'rotated',
      profile: { credential: { generation: 2 } },
    })
    await w.gate.settled()
    expect(await w.series('storeErrors')).toEqual([{ labels: { operation: 'lease', 'error.type': 'Error' }, value: 2 }])
  })

  it('does not make its acquisitions wait until its lease is given back', async () => {
    const store = new BreakableStore(memoryStore())
    const w = await world({ store })
    await w.signIn()
    const lend = store.lease.bind(store)
    const held = Promise.withResolvers<void>()
    store.lease = async (...parameters) => ({ ...(await lend(...parameters)), release: () => held.promise })
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    held.resolve()
  })
})
