// Seen: a process that was stopped (SIGSTOP, a suspended machine) before its token request had left sent it when it went on,
// although another process had rotated the token since; the provider took that for a replay and ended the login. Who came
// after one that was stopped with its request under way sent the same token too. Fix: the lease is confirmed in the run that
// writes to the socket; a sender that may go on is waited for. Issue 1 of 6, C1.
import { describe, expect, it } from 'vitest'
import { ATTR_OUTCOME, SPAN_REFRESH } from '../../otel/semconv.ts'
import { isGatewayError } from '../../src/domain/gateway-error.ts'
import type { TokenStep } from '../../src/simulator/token-endpoint.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { startChild } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { PROFILE, type World, world } from '../support/world.ts'

/** Longer than a step takes on a slow machine, since a refresher that is slower than this counts as stopped. */
const TTL_MS = 3_000

/** What became of the refresh tokens that reached the endpoint, in order. */
const sent = (w: World) => w.simulator.tokenRequests().map(({ refreshToken, committed }) => `${refreshToken}${committed ? ' taken' : ''}`)
const outcomes = (w: World) => w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_OUTCOME])

async function stoppedWorld(stopAt?: { step: TokenStep }) {
  const folder = stateFolder()
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const store = fileStore(folder, { leaseTtlMs: TTL_MS })
  const taken = Promise.withResolvers<number>()
  const w = await world({
    // Says when this process has the lease; who asks for it to find out would take it himself.
    store: new Proxy(store, {
      get: (_, name) => {
        if (name !== 'lease') return Reflect.get(store, name).bind(store)
        return async (...parameters: Parameters<typeof store.lease>) => {
          const lease = await store.lease(...parameters)
          if (lease.takenFrom !== undefined) taken.resolve(lease.takenFrom)
          return lease
        }
      },
    }),
    simulator: {
      onTokenRequest: step => {
        if (step !== stopAt?.step) return undefined
        reached.resolve()
        return goOn.promise
      },
    },
  })
  await w.signIn()
  return {
    ...w,
    reached: reached.promise,
    /** From which process this one took the lease, once it has. */
    takenFrom: taken.promise,
    goOn: () => goOn.resolve(),
    refresher: (step: string) =>
      startChild(new URL('./fixtures/die-in-flight.ts', import.meta.url), folder, w.simulator.url, PROFILE, step, 'SIGSTOP', `${TTL_MS}`),
  }
}

/** Which process holds the lease; `undefined` for none, and while a process is changing the table. */
async function leasedBy({ store }: World): Promise<number | undefined> {
  try {
    await (await store.lease(PROFILE, { waitMs: 0 })).release()
    return undefined
  } catch (error) {
    return isGatewayError(error, 'GW_LEASE_TIMEOUT') ? error.heldBy : undefined
  }
}

/** The login still works: the next refresh is granted. */
async function expectLoginLives(w: World, generation: number) {
  expect(await w.gate.acquire(w.acquire({ reason: 'operator' }))).toMatchObject({
    outcome: 'rotated',
    profile: { credential: { generation } },
  })
  expect(sent(w).filter(request => request !== 'current taken')).toEqual([])
}

describe('a refresher is stopped before its token request has left', () => {
  it.each([
    ['with the lease held', 'lease_held'],
    ['with the credential read once more', 'reloaded'],
    ['with its intent written', 'intent_written'],
    ['with the connection open, right before the first byte', 'request_sent'],
  ])('%s, and another one rotates: when it goes on it sends nothing, and the login lives', { timeout: 120_000 }, async (_, step) => {
    const w = await stoppedWorld()
    const refresher = w.refresher(step)
    await expect.poll(() => leasedBy(w), { timeout: 60_000 }).toBe(refresher.pid)
    expect(await w.gate.acquire(w.acquire({ deadlineMs: 100_000 }))).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    refresher.signal('SIGCONT')
    expect(await refresher.line()).toBe('ended')
    expect(sent(w)).toEqual(['current taken'])
    expect(await w.store.reload(PROFILE)).not.toHaveProperty('pending')
    await expectLoginLives(w, 2)
  })
})

describe('a refresher is stopped after its token request has left', () => {
  it.each<[string, TokenStep | undefined, string]>([
    ['and the provider has it', 'received', 'never'],
    ['and the provider has rotated', 'committed', 'never'],
    ['with the answer in its hands', undefined, 'answer_received'],
  ])('%s: the next one waits for what it stores, sends nothing, and the login lives', { timeout: 120_000 }, async (_, at, step) => {
    const w = await stoppedWorld(at && { step: at })
    const refresher = w.refresher(step)
    if (at) {
      await w.reached
      refresher.signal('SIGSTOP')
      w.goOn()
    }
    await expect.poll(() => leasedBy(w), { timeout: 60_000 }).toBe(refresher.pid)
    const visiting = w.gate.acquire(w.acquire({ deadlineMs: 100_000 }))
    expect(await w.takenFrom).toBe(refresher.pid)
    refresher.signal('SIGCONT')
    expect(await refresher.line()).toBe('ended')
    expect(await visiting).toMatchObject({ decision: 'adopt', outcome: 'reused', profile: { credential: { generation: 1 } } })
    expect(sent(w)).toEqual(['current taken'])
    expect(outcomes(w)).toEqual(['reused'])
    await expectLoginLives(w, 2)
  })

  it('and it is killed then: the next one waits no longer, and says what was lost', { timeout: 120_000 }, async () => {
    const w = await stoppedWorld({ step: 'committed' })
    const refresher = w.refresher('never')
    await w.reached
    refresher.signal('SIGSTOP')
    w.goOn()
    const visiting = w.gate.acquire(w.acquire({ deadlineMs: 100_000 })).catch((error: unknown) => error)
    expect(await w.takenFrom).toBe(refresher.pid)
    refresher.signal('SIGKILL')
    expect(await visiting).toMatchObject({ code: 'GW_NEEDS_LOGIN', next: 'sign_in_again' })
    expect(outcomes(w)).toEqual(['lost'])
  })
})
