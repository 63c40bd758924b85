// Seen: a refresher whose lease was taken away sent a token that had been rotated since, or called a login dead on the
// answer to such a replay. Fix: the lease is confirmed right before the request leaves, and before a refusal is believed.
// Issue 1 of 6, C1.
import { describe, expect, it } from 'vitest'
import { ATTR_OUTCOME, EVENT_HELD_BACK, EVENT_REQUEST_SENT, SPAN_REFRESH } from '../../otel/semconv.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { Lease } from '../../src/store/profile-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'
import { PROFILE, type World, world } from '../support/world.ts'

/** A lease that answers with the given values, one after the other; then it is an ordinary one. */
function leaseThatSays(...words: boolean[]): Lease {
  return {
    waitedMs: 0,
    mayGoOn: () => false,
    lost: new AbortController().signal,
    confirm: () => words.shift() ?? true,
    release: async () => {},
  }
}

/** A world whose first lease is this one, which no other gate sees; all later leases are the store's own. */
async function worldWithFirstLease(first: Lease, options: Parameters<typeof world>[0] = {}) {
  const store = new BreakableStore(memoryStore())
  const w = await world({ store, ...options })
  await w.signIn()
  const lend = store.lease.bind(store)
  let isFirst = true
  store.lease = async (...parameters) => {
    if (!isFirst) return lend(...parameters)
    isFirst = false
    return first
  }
  return { ...w, disk: store }
}

const events = (w: World) => w.spans(SPAN_REFRESH).flatMap(span => span.events.map(({ name }) => name))

describe('a lease that does not hold any more as the request is to leave', () => {
  it('nothing is sent, the intent is taken back, and the refresh leases and asks again', async () => {
    const w = await worldWithFirstLease(leaseThatSays(false))
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'lead', outcome: 'rotated' })
    expect(w.tokenRequests()).toBe(1)
    expect(events(w).filter(name => name === EVENT_HELD_BACK || name === EVENT_REQUEST_SENT)).toEqual([EVENT_HELD_BACK, EVENT_REQUEST_SENT])
    expect(await w.store.reload(PROFILE)).not.toHaveProperty('pending')
  })

  it('an intent of the process that has it by now stays', async () => {
    const w: Awaited<ReturnType<typeof worldWithFirstLease>> = await worldWithFirstLease(leaseThatSays(false), {
      onStep: step => {
        if (step === 'request_sent')
          void w.store.change(PROFILE, current => current?.pending && { ...current, pending: { ...current.pending, pid: 4711 } })
      },
    })
    const seen: unknown[] = []
    const lend = w.disk.lease
    w.disk.lease = async (...parameters) => {
      seen.push((await w.store.reload(PROFILE))?.pending?.pid)
      return lend(...parameters)
    }
    await w.gate.acquire(w.acquire())
    expect(seen).toEqual([undefined, 4711])
  })
})

describe('a refusal that comes without the lease', () => {
  it('may be the answer to a replay: the process that has the lease is waited for, and what it stores serves', async () => {
    const stored = Promise.withResolvers<void>()
    let isFirst = true
    const w: Awaited<ReturnType<typeof worldWithFirstLease>> = await worldWithFirstLease(leaseThatSays(true, false), {
      simulator: {
        reuseKillsFamily: false,
        onTokenRequest: () => {
          if (!isFirst) return undefined
          isFirst = false
          return rotateElsewhere()
        },
      },
    })
    /** Another process takes the lease and has the token rotated; it stores what it got when the refusal of ours is there. */
    async function rotateElsewhere() {
      const rotated = Promise.withResolvers<void>()
      const other = w.anotherGate({ onStep: step => step === 'answer_received' && rotated.resolve() })
      let changes = 0
      w.disk.beforeChange = () => {
        changes += 1
        return changes === 2 ? stored.promise : undefined
      }
      void other.acquire(w.acquire())
      await rotated.promise
    }
    const visiting = w.gate.acquire(w.acquire())
    await expect.poll(() => w.tokenRequests()).toBe(2)
    stored.resolve()
    expect(await visiting).toMatchObject({ decision: 'adopt', outcome: 'reused', profile: { credential: { generation: 1 } } })
    expect(await w.store.reload(PROFILE)).not.toHaveProperty('needsLogin')
  })

  it('is believed where the store still holds the token that was refused', async () => {
    const w = await worldWithFirstLease(leaseThatSays(true, false))
    w.simulator.revoke((await w.stored()).refresh ?? '')
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(w.span(SPAN_REFRESH).attributes[ATTR_OUTCOME]).toBe('invalidated')
    expect(w.tokenRequests()).toBe(1)
  })
})
