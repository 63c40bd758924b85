import { describe, expect, it } from 'vitest'
import { ATTR_LEASE_TAKEN_FROM, ATTR_OUTCOME, EVENT_LEASE_HELD, SPAN_REFRESH } from '../../otel/semconv.ts'
import { isGatewayError } from '../../src/domain/gateway-error.ts'
import { type FileStoreOptions, fileStore } from '../../src/store/file-store.ts'
import { type ChildProcess, startChild } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { PROFILE, type World, type WorldOptions, world } from '../support/world.ts'

/** Far longer than any test: what goes on nevertheless did not wait for it. */
const LONG_TTL_MS = 600_000

interface KilledWorld extends World {
  readonly folder: string
  /** Starts a refresher that sends itself SIGKILL at that step, or another signal. */
  refresher(step: string, ...how: string[]): ChildProcess
}

async function killedWorld(simulator: WorldOptions['simulator'] = {}, storeOptions: FileStoreOptions = { leaseTtlMs: LONG_TTL_MS }) {
  const folder = stateFolder()
  const w = await world({ store: fileStore(folder, storeOptions), simulator })
  await w.signIn()
  const killed: KilledWorld = {
    ...w,
    folder,
    refresher: (step, ...how) =>
      startChild(new URL('./fixtures/die-in-flight.ts', import.meta.url), folder, w.simulator.url, PROFILE, step, ...how),
  }
  return killed
}

/** What became of the refresh tokens that reached the endpoint, in order. */
const sent = (w: World) => w.simulator.tokenRequests().map(({ refreshToken, committed }) => `${refreshToken}${committed ? ' taken' : ''}`)
const lastRefresh = (w: World) => w.spans(SPAN_REFRESH).at(-1)
const takenFrom = (w: World) => lastRefresh(w)?.events.find(({ name }) => name === EVENT_LEASE_HELD)?.attributes?.[ATTR_LEASE_TAKEN_FROM]

describe('a refresher is killed before the provider took the token', () => {
  it.each([
    ['with the lease held', 'lease_held'],
    ['with its intent written, before anything left', 'request_sent'],
  ])('%s: the next process takes the lease at once and rotates', async (_, step) => {
    const w = await killedWorld()
    const refresher = w.refresher(step)
    expect(await refresher.ended).toBe('SIGKILL')
    expect(sent(w)).toEqual([])
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(takenFrom(w)).toBe(String(refresher.pid))
    expect(sent(w)).toEqual(['current taken'])
    expect(await w.store.reload(PROFILE)).not.toHaveProperty('pending')
  })

  it('with the request at a provider that never came to it: the next process rotates', async () => {
    const arrived = Promise.withResolvers<void>()
    const dead = Promise.withResolvers<void>()
    const w = await killedWorld({
      onTokenRequest: () => {
        arrived.resolve()
        return dead.promise
      },
    })
    w.simulator.inject({ where: 'token', resetBeforeCommit: true, times: 1 })
    const refresher = w.refresher('never')
    await arrived.promise
    refresher.signal('SIGKILL')
    expect(await refresher.ended).toBe('SIGKILL')
    dead.resolve()
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(sent(w)).toEqual(['current', 'current taken'])
  })
})

describe('a refresher is killed after the provider took the token, before the answer was safe', () => {
  async function killedAt(w: KilledWorld, refresher: ChildProcess) {
    expect(await refresher.ended).toBe('SIGKILL')
    await expect.poll(() => sent(w)).toEqual(['current taken'])
    const error = await w.gate.acquire(w.acquire()).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    expect(String(error)).toMatch(new RegExp(`lost its login: process ${refresher.pid} sent the refresh token at \\d{4}-.*Sign in again`))
    expect(takenFrom(w)).toBe(String(refresher.pid))
    for (const gate of [w.gate, w.anotherGate(), w.gate]) {
      await expect(gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    }
    expect(w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_OUTCOME])).toEqual(['lost'])
    expect(sent(w)).toEqual(['current taken', 'rotated'])
    expect((await w.store.reload(PROFILE))?.needsLogin?.outcome).toBe('lost')
    await w.signIn()
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
  }

  it.each(['received', 'committed'])('with the request %s: lost is said once, then nothing is sent until a user signs in', async at => {
    const reached = Promise.withResolvers<void>()
    const dead = Promise.withResolvers<void>()
    const w = await killedWorld({
      onTokenRequest: step => {
        if (step !== at) return undefined
        reached.resolve()
        return dead.promise
      },
    })
    const refresher = w.refresher('never')
    await reached.promise
    refresher.signal('SIGKILL')
    await refresher.ended
    dead.resolve()
    await killedAt(w, refresher)
  })

  it.each([
    ['with the answer in its hands', 'answer_received'],
    ['with the rotated token written, before it was committed', 'written'],
  ])('%s: lost is said once, then nothing is sent until a user signs in', async (_, step) => {
    const w = await killedWorld()
    await killedAt(w, w.refresher(step))
  })
})

describe('a refresher is killed when the rotated token was safe', () => {
  it.each([
    ['committed', 'committed'],
    ['persisted', 'persisted'],
    ['published', 'published'],
  ])('%s: the next process uses it and sends nothing', async (_, step) => {
    const w = await killedWorld()
    expect(await w.refresher(step).ended).toBe('SIGKILL')
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'reuse', profile: { credential: { generation: 1 } } })
    expect(sent(w)).toEqual(['current taken'])
    expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({ outcome: 'rotated' })
    expect(sent(w)).toEqual(['current taken', 'current taken'])
  })
})

describe('a refresher hangs with the lease held', () => {
  it('the next process takes the lease when its time is over, and the first does not send when it wakes', async () => {
    const w = await killedWorld({}, { leaseTtlMs: 300 })
    const refresher = w.refresher('lease_held', 'SIGSTOP', '300')
    await expect.poll(() => leasedBy(w)).toBe(refresher.pid)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(takenFrom(w)).toBe(String(refresher.pid))
    refresher.signal('SIGCONT')
    expect(await refresher.line()).toBe('ended')
    expect(sent(w)).toEqual(['current taken'])
  })
})

/** The holder of the lease: none, a process by its number, or unknown while a process is changing the table. */
async function leasedBy({ store }: World): Promise<number | 'none' | 'unknown'> {
  try {
    await (await store.lease(PROFILE, { waitMs: 0 })).release()
    return 'none'
  } catch (error) {
    return isGatewayError(error, 'GW_LEASE_TIMEOUT') ? (error.heldBy ?? 'unknown') : 'unknown'
  }
}
