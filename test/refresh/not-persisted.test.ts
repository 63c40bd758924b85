import { describe, expect, it } from 'vitest'
import { ATTR_NEXT, SPAN_REFRESH } from '../../otel/semconv.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'
import { PROFILE, world } from '../support/world.ts'

describe('a store that refuses the new token', () => {
  const FULL = new GatewayError('GW_STORE_UNWRITABLE', 'cannot write /state/profiles.json (ENOSPC); nothing was changed', {
    next: 'free_disk_space',
  })

  /** A world whose disk is full when the answer comes, not before. */
  async function fullAfterTheIntent() {
    const disk = new BreakableStore(memoryStore())
    const w = await world({
      store: disk,
      onStep: step => {
        if (step === 'answer_received') disk.break(FULL, 'change')
      },
    })
    const grant = await w.signIn()
    const acquireResult = await w.gate.acquire(w.acquire())
    return { ...w, disk, grant, acquireResult }
  }

  it('it serves from memory and the profile says so; nothing else is sent', async () => {
    const w = await fullAfterTheIntent()
    expect(w.acquireResult).toMatchObject({ decision: 'lead', outcome: 'not_persisted', profile: { credential: { generation: 1 } } })
    const current = await w.gate.current(PROFILE)
    expect(current).toEqual(w.acquireResult.profile)
    expect(current && w.gate.stateOf(current)).toBe('not_persisted')
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'reuse', profile: { credential: { generation: 1 } } })
    expect(w.tokenRequests()).toBe(1)
    expect(await w.stored()).toMatchObject({ refresh: w.grant.refresh })
    expect(w.span(SPAN_REFRESH).attributes[ATTR_NEXT]).toBe('free_disk_space')
    expect(await w.series('storeErrors')).toEqual([{ labels: { operation: 'write', 'error.type': 'GW_STORE_UNWRITABLE' }, value: 1 }])
  })

  it('it is written when the disk has room again, some seconds later at most', async () => {
    const w = await fullAfterTheIntent()
    await w.gate.current(PROFILE)
    w.disk.mend()
    w.clock.advance(5_000)
    await w.gate.current(PROFILE)
    await expect.poll(() => w.stored()).toMatchObject({ generation: 1 })
    const current = await w.gate.current(PROFILE)
    expect(current && w.gate.stateOf(current)).toBe('ready')
    expect(await w.anotherGate().acquire(w.acquire())).toMatchObject({ decision: 'reuse' })
    expect(w.tokenRequests()).toBe(1)
  })

  it('it is written before the process ends, if it can be', async () => {
    const w = await fullAfterTheIntent()
    await w.gate.settled()
    expect(await w.stored()).toMatchObject({ generation: 0 })
    w.disk.mend()
    await w.gate.settled()
    expect(await w.stored()).toMatchObject({ generation: 1 })
  })

  it('it is written before the next refresh, which sends the newer token', async () => {
    const w = await fullAfterTheIntent()
    await w.gate.current(PROFILE) // tries in vain, and does not try again for some seconds
    w.disk.mend()
    expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({
      profile: { credential: { generation: 2 } },
    })
    expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(['current', 'current'])
  })

  it('what another process stores meanwhile stays', async () => {
    const w = await fullAfterTheIntent()
    w.disk.mend()
    const login = await w.signIn('usable')
    await w.gate.settled()
    expect(await w.stored()).toMatchObject({ refresh: login.refresh })
    expect(await w.gate.current(PROFILE)).toMatchObject({ credential: { refresh: login.refresh } })
  })

  it('when even the intent cannot be written, nothing is sent and the error says where', async () => {
    const disk = new BreakableStore(memoryStore())
    const w = await world({ store: disk })
    await w.signIn()
    disk.break(FULL, 'change')
    const error = await w.gate.acquire(w.acquire()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_REFRESH_FAILED', next: 'free_disk_space', cause: FULL })
    expect(String(error)).toContain('/state/profiles.json')
    expect(w.tokenRequests()).toBe(0)
  })

  it('a grant that is dead is remembered in memory, and is called dead rather than unwritten', async () => {
    const disk = new BreakableStore(memoryStore())
    const w = await world({
      store: disk,
      onStep: step => {
        if (step === 'answer_received') disk.break(FULL, 'change')
      },
    })
    w.simulator.revoke((await w.signIn()).refresh)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(w.tokenRequests()).toBe(1)
    const current = await w.gate.current(PROFILE)
    expect(current && w.gate.stateOf(current)).toBe('needs_login')
  })
})
