import { SpanKind } from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import {
  ATTR_LEASE_TAKEN_FROM,
  ATTR_LEASE_WAIT,
  EVENT_LEASE_HELD,
  EVENT_LEASE_LOST,
  SPAN_ACQUIRE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { BreakableStore } from '../support/breakable-store.ts'
import { PROFILE, world } from '../support/world.ts'

const HOUR = 3_600_000

describe('what is kept of a refresh', () => {
  it('is a child of the acquisition that leads, and in its trace', async () => {
    const w = await world()
    await w.signIn()
    await w.gate.acquire(w.acquire())
    const { kind, parentSpanContext, spanContext } = w.span(SPAN_REFRESH)
    expect([kind, parentSpanContext]).toEqual([SpanKind.CLIENT, w.span(SPAN_ACQUIRE).spanContext()])
    expect(spanContext().traceId).toBe(parentSpanContext?.traceId)
  })

  it('is the wait for the lease, and the age of the token it replaces', async () => {
    const w = await world()
    await w.signIn('expired', { issuedAt: w.clock.now() - HOUR })
    await w.gate.acquire(w.acquire({ reason: 'scheduled' }))
    const labels = { provider: 'openai-codex', profile: w.telemetry.profile(PROFILE) }
    expect(await w.series('leaseWait')).toEqual([{ labels, value: 1, sum: expect.any(Number) }])
    const [age, ...others] = await w.series('tokenAge')
    expect(others).toEqual([])
    expect(age).toEqual({ labels: { ...labels, reason: 'scheduled' }, value: 1, sum: HOUR / 1000 })
  })

  it('is a replay, by the caller who led it', async () => {
    const w = await world()
    await w.signIn()
    w.simulator.inject({ where: 'token', name: 'refresh_token_reused' })
    await expect(w.gate.acquire(w.acquire())).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
    expect(await w.series('replays')).toEqual([
      { labels: { provider: 'openai-codex', profile: w.telemetry.profile(PROFILE), caller: 'app/agent.ts#answer' }, value: 1 },
    ])
  })

  it('is a lease that was lost, and the process a lease was taken from', async () => {
    const lost = new AbortController()
    const store = new BreakableStore(memoryStore())
    const w = await world({ store, onStep: step => step === 'request_sent' && lost.abort() })
    await w.signIn()
    const lend = store.lease.bind(store)
    store.lease = async (...parameters) => ({ ...(await lend(...parameters)), waitedMs: 1_500, takenFrom: 4711, lost: lost.signal })
    // The token is on its way already: the refresh ends, and what it brings is compared before it is stored.
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ outcome: 'rotated' })
    const { events } = w.span(SPAN_REFRESH)
    expect(events.find(({ name }) => name === EVENT_LEASE_HELD)?.attributes).toEqual({
      [ATTR_LEASE_WAIT]: 1.5,
      [ATTR_LEASE_TAKEN_FROM]: '4711',
    })
    expect(events.map(({ name }) => name)).toContain(EVENT_LEASE_LOST)
    expect(await w.series('leasesLost')).toEqual([
      { labels: { provider: 'openai-codex', profile: w.telemetry.profile(PROFILE) }, value: 1 },
    ])
  })
})
