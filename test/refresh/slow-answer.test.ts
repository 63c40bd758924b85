// Seen: the gate hung up on an answer that was coming (AbortSignal.timeout), so the provider had rotated and the login was
// lost. Why: one limit was both the callers' patience and the request's. Fix: the limit ends the callers' waiting, the
// refresh listens on under its renewed lease. Issue 1 of 6, C2.
import { describe, expect, it } from 'vitest'
import { ATTR_DECISION, ATTR_ERROR_TYPE, ATTR_OUTCOME, EVENT_WAITING_ENDED, SPAN_ACQUIRE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { stateFolder } from '../support/clean-up.ts'
import { PROFILE, type World, type WorldOptions, world } from '../support/world.ts'

/** A provider that has rotated, and whose answer comes when `answer` is called. */
async function slowWorld({ life = 'expired', ...options }: WorldOptions & { life?: 'expired' | 'expiring' } = {}) {
  const committed = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  let isFirst = true
  const w = await world({
    options: { requestTimeoutMs: 150 },
    simulator: {
      onTokenRequest: step => {
        if (step !== 'committed' || !isFirst) return undefined
        isFirst = false
        committed.resolve()
        return answered.promise
      },
    },
    ...options,
  })
  const grant = await w.signIn(life)
  return { ...w, grant, committed: committed.promise, answer: () => answered.resolve() }
}

/** Longer than any step takes on a slow machine. */
const PATIENT = { graceMs: 20_000 }

const sent = (w: World) => w.simulator.tokenRequests().map(({ refreshToken, committed }) => `${refreshToken}${committed ? ' taken' : ''}`)
const outcomes = (w: World) => w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_OUTCOME])

describe('an answer that comes after the callers stopped waiting', () => {
  it('is stored: the callers hear of the time-out, the refresh ends as rotated, and its span says both', async () => {
    const w = await slowWorld()
    const callers = await Promise.allSettled([w.gate.acquire(w.acquire()), w.gate.acquire(w.acquire())])
    for (const { reason } of callers as PromiseRejectedResult[]) {
      expect(reason).toMatchObject({ code: 'GW_REFRESH_FAILED', next: 'try_again_later', outcome: 'timeout' })
    }
    expect(w.spans(SPAN_ACQUIRE).map(({ attributes }) => [attributes[ATTR_DECISION], attributes[ATTR_OUTCOME]])).toEqual([
      ['lead', 'timeout'],
      ['join', 'timeout'],
    ])
    w.answer()
    await w.gate.settled(PATIENT)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'reuse', profile: { credential: { generation: 1 } } })
    expect(sent(w)).toEqual(['current taken'])
    const { attributes, events, status } = w.span(SPAN_REFRESH)
    expect([attributes[ATTR_OUTCOME], status.code]).toEqual(['rotated', 0])
    expect(events.map(({ name }) => name)).toContain(EVENT_WAITING_ENDED)
  })

  it('meanwhile no other caller waits for it, and no other caller sends the token', async () => {
    const w = await slowWorld()
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_BACKOFF', outcome: 'timeout', retryAfterMs: 5_000 })
    w.answer()
    await w.gate.settled(PATIENT)
    expect(sent(w)).toEqual(['current taken'])
  })

  it('an operator waits for it as long as he said', async () => {
    const w = await slowWorld()
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    const operator = w.gate.acquire(w.acquire({ reason: 'operator' }))
    w.answer()
    expect(await operator).toMatchObject({ decision: 'join', outcome: 'rotated', profile: { credential: { generation: 1 } } })
  })

  it('a token that still works serves meanwhile', async () => {
    const w = await slowWorld({ life: 'expiring' })
    for (const _ of ['the first, which waited', 'one that comes later'])
      expect(await w.gate.acquire(w.acquire({ reason: 'expiring' }))).toMatchObject({
        decision: 'reuse',
        profile: { credential: { access: w.grant.access } },
      })
    w.answer()
    await w.gate.settled(PATIENT)
    expect(await w.stored()).toMatchObject({ generation: 1 })
  })

  it('its lease is renewed for as long as that takes: another process cannot send the token', async () => {
    const w = await slowWorld({ store: fileStore(stateFolder(), { leaseTtlMs: 300 }) })
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    const other = w.anotherGate({ options: { leaseWaitMs: 1_200 } })
    await expect(other.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_LEASE_TIMEOUT' })
    w.answer()
    await w.gate.settled(PATIENT)
    expect(sent(w)).toEqual(['current taken'])
    expect(await w.store.reload(PROFILE)).toMatchObject({ credential: { generation: 1 } })
    expect(await w.series('leasesLost')).toEqual([])
  })
})

describe('a lease that another process keeps while it listens', () => {
  it('is waited for no longer than the answer would be; the refresh goes on, and gets what is stored', async () => {
    const w = await slowWorld({ store: fileStore(stateFolder()), options: { requestTimeoutMs: 150 } })
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    const other = w.anotherGate()
    await expect(other.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_REFRESH_FAILED', outcome: 'contention' })
    w.answer()
    await Promise.all([w.gate.settled(PATIENT), other.settled(PATIENT)])
    expect(outcomes(w).sort()).toEqual(['reused', 'rotated'])
    expect(sent(w)).toEqual(['current taken'])
  })
})

describe('an answer that never comes', () => {
  it('is given up after listenMs: a time-out, and the next refresh knows that it may be lost', async () => {
    const w = await slowWorld({ options: { requestTimeoutMs: 100, listenMs: 400 } })
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    await w.committed
    await w.gate.settled(PATIENT)
    expect(outcomes(w)).toEqual(['timeout'])
    expect(w.span(SPAN_REFRESH).attributes[ATTR_ERROR_TYPE]).toBe('TimeoutError')
    expect(await w.store.reload(PROFILE)).toMatchObject({ pending: { pid: process.pid } })
    w.clock.advance(60_000)
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(outcomes(w)).toEqual(['timeout', 'lost'])
    w.answer()
  })

  it('is waited for by an ending process no longer than its grace, and the store says that it is missing', async () => {
    const w = await slowWorld()
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    await w.committed
    await w.gate.settled({ graceMs: 50 })
    expect(outcomes(w)).toEqual(['timeout'])
    expect(await w.store.reload(PROFILE)).toMatchObject({ pending: { pid: process.pid } })
    w.answer()
  })

  it('on a connection that is cut after the callers left is lost', async () => {
    const w = await slowWorld()
    await w.gate.acquire(w.acquire()).catch(() => undefined)
    await w.simulator.stop()
    await w.gate.settled(PATIENT)
    expect(outcomes(w)).toEqual(['unavailable'])
    expect(await w.store.reload(PROFILE)).toMatchObject({ pending: { pid: process.pid } })
  })
})
