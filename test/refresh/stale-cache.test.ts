import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { StaleCache } from '../../src/refresh/stale-cache.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'
import { LIVES, PROFILE, world } from '../support/world.ts'

const DAMAGED = new GatewayError('GW_STORE_DAMAGED', '/state/profiles.json is damaged', { next: 'restore_store' })

describe('what was known of a profile', () => {
  it('is what was read last; what was never read or is gone is not known', () => {
    const known = new StaleCache()
    const profile = { id: 'p', provider: 'openai', credential: { type: 'api_key', key: 'k' } } as const
    expect([known.unreadable('p'), known.isUnreadable('p')]).toEqual([undefined, false])
    known.read('p', profile)
    expect([known.unreadable('p'), known.isUnreadable('p')]).toEqual([profile, true])
    known.read('p', profile)
    expect(known.isUnreadable('p')).toBe(false)
    known.read('p', undefined)
    expect(known.unreadable('p')).toBeUndefined()
  })
})

describe('a store that cannot be read any more', () => {
  async function unreadableWorld(life: keyof typeof LIVES) {
    const disk = new BreakableStore(memoryStore())
    const w = await world({ store: disk })
    const grant = await w.signIn(life)
    await w.gate.current(PROFILE)
    disk.break(DAMAGED, 'read', 'reload')
    return { ...w, disk, grant }
  }

  it('lets a token that still works serve from memory; the profile says so, the failure is counted', async () => {
    const w = await unreadableWorld('usable')
    expect(await w.gate.acquire(w.acquire({ reason: 'forced' }))).toMatchObject({
      decision: 'reuse',
      profile: { credential: { access: w.grant.access } },
    })
    const current = await w.gate.current(PROFILE)
    expect(current && w.gate.stateOf(current)).toBe('not_persisted')
    expect(await w.series('storeErrors')).toEqual([{ labels: { operation: 'read', 'error.type': 'GW_STORE_DAMAGED' }, value: 2 }])
    w.disk.mend()
    const mended = await w.gate.current(PROFILE)
    expect(mended && w.gate.stateOf(mended)).toBe('ready')
  })

  it('refreshes nothing: an expiring token serves to its end, then the store’s error comes out', async () => {
    const w = await unreadableWorld('expiring')
    expect(await w.gate.acquire(w.acquire({ reason: 'expiring' }))).toMatchObject({ decision: 'reuse' })
    w.clock.advance(LIVES.expiring)
    await expect(w.gate.current(PROFILE)).rejects.toBe(DAMAGED)
    await expect(w.gate.acquire(w.acquire())).rejects.toBe(DAMAGED)
    expect(w.tokenRequests()).toBe(0)
  })

  it('has nothing to offer to a gate that never read it', async () => {
    const w = await unreadableWorld('usable')
    await expect(w.anotherGate().acquire(w.acquire())).rejects.toBe(DAMAGED)
  })

  it('serves no caller once it is closed', async () => {
    const w = await world()
    await w.signIn('usable')
    await w.gate.current(PROFILE)
    await w.store.close()
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_CLOSED' })
  })
})
