import { describe, expect, it, vi } from 'vitest'
import { ATTR_VIA, SPAN_ACQUIRE, SPAN_CALL, SPAN_REFRESH } from '../../otel/semconv.ts'
import type { EventCounts } from '../../src/events/queries/counts.ts'
import type { SpeedscopeFile } from '../../src/events/queries/speedscope.ts'
import type {
  BypassesAnswer,
  CallsAnswer,
  FallbacksAnswer,
  Overview,
  ProfilesAnswer,
  RefreshesAnswer,
  RefreshLinesAnswer,
  StacksAnswer,
  TraceAnswer,
} from '../../src/ops/api-types.ts'
import { afterwards } from '../support/clean-up.ts'
import { eventually } from '../support/gateway-world.ts'
import { CODEX, type OpsWorld, opsWorld, PAID, reportStory } from './ops-world.ts'

const data = async <T>(w: OpsWorld, path: string): Promise<T> => (await w.ask(`/ops/data/${path}`)).json as T

async function report(): Promise<OpsWorld> {
  const w = await opsWorld()
  await reportStory(w)
  // On a busy machine the thread of the store takes a while to start.
  await eventually(async () => expect((await data<Overview>(w, 'overview')).totals).toMatchObject({ bypasses: 2, fallbacks: 2 }))
  return w
}

/** Stops the monotonic clock until `goOn`; `standing` says where it stands. */
function standingClock() {
  const standing = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
  afterwards(() => standing.mockRestore())
  return { standing, goOn: () => standing.mockRestore() }
}

const sum = (samples: readonly { readonly value: number }[]) => samples.reduce((all, { value }) => all + value, 0)

describe('the data of the ops page', () => {
  it('counts refreshes and acquisitions as recorder and metrics do', async () => {
    const w = await report()
    const { total, failures, callers, acquisitions } = await data<RefreshesAnswer>(w, 'refreshes?window=all')
    expect(total).toBe(sum(await w.series('refreshDuration')))
    expect(failures).toBe(w.spans(SPAN_REFRESH).filter(({ status }) => status === 'error').length)
    expect(failures).toBeGreaterThan(1)
    const rows = callers.map(({ caller, reason, via, outcome, count, lastMs }) => ({
      caller,
      reason,
      via,
      outcome,
      count,
      lastSeenMs: lastMs,
    }))
    const counts = await data<EventCounts>(w, 'counts')
    expect(rows).toEqual(counts.refreshes)
    const decided = acquisitions.map(({ caller, reason, decision, count, lastMs }) => ({
      caller,
      reason,
      decision,
      count,
      lastSeenMs: lastMs,
    }))
    expect(decided).toEqual(counts.acquisitions)
    expect(sum(acquisitions.map(({ count }) => ({ value: count })))).toBe(sum(await w.series('acquisitions')))
    for (const row of callers) expect(row.trend.reduce((all, part) => all + part, 0)).toBe(row.count)
  })

  it('counts calls and acquisitions that are not all recorded as the metrics do', async () => {
    const w = await opsWorld()
    // Room for more comes with time: on a slow machine there would be room for all of them.
    const clock = standingClock()
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 10 }, w.call))
      for (let acquisition = 0; acquisition < 10; acquisition += 1) await w.acquire()
    }
    // What was passed over last is shown by the next call that is kept, as soon as there is room for it again.
    clock.standing.mockReturnValue(performance.now() + 1_500)
    await w.call()
    clock.goOn()
    expect(w.spans(SPAN_CALL).length).toBeLessThan(201)
    expect(w.spans(SPAN_ACQUIRE).length).toBeLessThan(200)
    await eventually(async () => {
      expect((await data<CallsAnswer>(w, 'calls?window=all')).total).toBe(201)
      expect((await data<FallbacksAnswer>(w, 'fallbacks?window=all')).calls).toBe(201)
    })
    const { acquisitions } = await data<RefreshesAnswer>(w, 'refreshes?window=all')
    expect(acquisitions.find(({ decision }) => decision === 'reuse')?.count).toBe(200)
    expect(sum(acquisitions.map(({ count }) => ({ value: count })))).toBe(sum(await w.series('acquisitions')))
  })

  it('counts attempts, calls and fallbacks as recorder and metrics do', async () => {
    const w = await report()
    const calls = await data<CallsAnswer>(w, 'calls?window=all')
    expect(calls.total).toBe(sum(await w.series('attemptDuration')))
    expect([...calls.good, ...calls.failed, ...calls.aborted].reduce((a, b) => a + b, 0)).toBe(calls.total)
    expect(calls.p50Ms).toBeGreaterThan(0)
    const fallbacks = await data<FallbacksAnswer>(w, 'fallbacks?window=all')
    expect(fallbacks.calls).toBe(6)
    const inOrder = (rows: readonly { from: string; to: string; reason: string; count: number }[]) =>
      rows.map(({ from, to, reason, count }) => ({ from, to, reason, count })).sort((a, b) => a.reason.localeCompare(b.reason))
    const counts = await data<EventCounts>(w, 'counts')
    expect(inOrder(fallbacks.fallbacks)).toEqual(inOrder(counts.fallbacks))
    expect(inOrder(fallbacks.billingChanges)).toEqual(inOrder(counts.billingChanges))
    expect(sum(fallbacks.fallbacks.map(({ count }) => ({ value: count })))).toBe(sum(await w.series('fallbacks')))
    expect(fallbacks.changedBilling).toBe(sum(await w.series('billingChanges')))
    expect(fallbacks.ways[0]?.steps[0]).toEqual({ profile: CODEX, reason: '' })
  })

  it('shows a bypass with its stack, its shape and whose token it replayed', async () => {
    const w = await report()
    const { total, bypasses, replays } = await data<BypassesAnswer>(w, 'bypasses?window=all')
    expect(total).toBe(sum(await w.series('bypasses')))
    expect(bypasses).toHaveLength(2)
    expect(bypasses.slice(0, 1)).toMatchObject([
      {
        via: 'bypass',
        outcome: 'invalidated',
        replay: true,
        file: 'test/ops/ops-world.ts',
        shape: { fields: [{ name: 'client_id' }, { name: 'grant_type', value: 'refresh_token' }, { name: 'refresh_token' }] },
      },
    ])
    expect(bypasses[0]?.stack.filter(({ caller }) => caller)).toMatchObject([{ name: 'goPastTheGate', application: true }])
    expect(replays).toMatchObject([
      { first: { via: 'gate', outcome: 'rotated' }, again: [{ via: 'bypass' }, { via: 'bypass', outcome: 'invalidated' }] },
    ])
    expect(JSON.stringify(bypasses)).not.toContain('rt_')
  })

  it('shows every profile with state, generation, and what its calls said last', async () => {
    const w = await report()
    const { profiles } = await data<ProfilesAnswer>(w, 'profiles?window=all')
    const [generation] = await w.series('generation')
    const of = (wanted: string) => profiles.find(({ profile }) => profile === wanted)
    expect(of(PAID)).toMatchObject({ type: 'api_key', state: 'ready', runtime: { lastOutcome: 'ok', failed: 0 } })
    expect(of(CODEX)).toMatchObject({ type: 'oauth', generation: generation?.value, runtime: { lastOutcome: 'auth_permanent' } })
    expect(of(CODEX)?.refreshes.map(({ via }) => via)).toEqual(expect.arrayContaining(['bypass', 'gate']))
    expect(of(CODEX)?.states.at(-1)?.state).toBe(of(CODEX)?.state)
  })

  // Seen: the clock time at which a rest ends jumped by a second from one look at the page to the next.
  // Why: it was reported as so many whole seconds from now, and rounded up again at each look.
  // Fix: the moment itself is reported.
  // Issue 6.
  it('names the same end of a rest, whenever it is asked', async () => {
    const w = await opsWorld()
    w.simulator.inject({ where: 'provider', account: 'work', name: 'usage_limit_429' })
    await w.call()
    const ends = new Set<number | undefined>()
    for (let round = 0; round < 5; round += 1) {
      const { profiles } = await data<ProfilesAnswer>(w, 'profiles?window=all')
      ends.add(profiles.find(({ profile }) => profile === CODEX)?.restsUntilMs)
    }
    expect([...ends]).toEqual([expect.any(Number)])
  })

  it('grows a tree of stacks whose branches add up, and a file that speedscope opens', async () => {
    const w = await report()
    const { root } = await data<StacksAnswer>(w, 'stacks?window=all')
    const { total, failures } = await data<RefreshesAnswer>(w, 'refreshes?window=all')
    expect(root).toMatchObject({ count: total, failures })
    expect(root.children.reduce((all, { count }) => all + count, 0)).toBe(total)
    const file = await data<SpeedscopeFile>(w, 'speedscope?window=all')
    for (const { samples, weights, endValue } of file.profiles) {
      expect(weights.length).toBe(samples.length)
      expect(weights.reduce((all, weight) => all + weight, 0)).toBe(endValue)
      for (const index of samples.flat()) expect(file.shared.frames[index]?.name).toBeTypeOf('string')
    }
    expect(file.profiles.map(({ endValue }) => endValue)).toEqual([total, failures])
  })

  it('leads from a row, and from a frame, to the refreshes and their traces', async () => {
    const w = await report()
    const { lines } = await data<RefreshLinesAnswer>(w, 'refresh-lines?window=all&via=bypass')
    expect(lines).toHaveLength(2)
    const { bypasses } = await data<BypassesAnswer>(w, 'bypasses?window=all')
    const [bypass] = bypasses
    const frame = `${bypass?.file}:${bypass?.line}`
    expect((await data<RefreshLinesAnswer>(w, `refresh-lines?window=all&frame=${encodeURIComponent(frame)}`)).lines).toEqual(lines)
    expect((await data<RefreshLinesAnswer>(w, 'refresh-lines?window=all&frame=nowhere.ts:1')).total).toBe(0)
  })

  it('shows a call from its request to the refresh that its acquisition led', async () => {
    const w = await report()
    const refresh = w.spans().find(({ attributes }) => Object.values(attributes).includes('rotated') && attributes[ATTR_VIA] === 'gate')
    const { spans } = await data<TraceAnswer>(w, `traces/${refresh?.links[0]?.traceId}`)
    expect(spans.map(({ role }) => role)).toEqual(expect.arrayContaining(['request', 'call', 'attempt', 'acquire', 'refresh']))
    const { spans: other } = await data<TraceAnswer>(w, `traces/${refresh?.traceId}`)
    expect(other.map(({ role }) => role)).toEqual(expect.arrayContaining(['refresh', 'acquire']))
  })

  it('narrows everything down to a profile, a reason, an outcome, a time', async () => {
    const w = await report()
    const count = async (query: string) => (await data<RefreshesAnswer>(w, `refreshes?${query}`)).total
    expect(await count('via=bypass')).toBe(2)
    expect(await count('outcome=rotated')).toBe(1)
    expect(await count(`profile=${CODEX}&reason=rejected&outcome=rotated`)).toBe(1)
    expect(await count('profile=missing')).toBe(0)
    expect(await count(`from=${Date.now() + 1_000}&to=${Date.now() + 2_000}`)).toBe(0)
    expect((await data<CallsAnswer>(w, `calls?profile=${PAID}`)).rows.map(({ profile }) => profile)).toEqual([PAID])
  })

  it.each([
    'refreshes?from=NaN&to=1e99',
    'calls?from=-1&to=9e15',
    'calls?from=1577836800001&to=4102444799999',
    'fallbacks?window=1577836800001',
    'stacks?frame=%00%ff%22',
    'bypasses?profile[]=a&profile[]=b',
    'traces/..%2f..%2fetc',
    `traces/${'a'.repeat(32)}`,
    `refresh-lines?caller=${'x'.repeat(4_000)}`,
  ])('answers a question that makes no sense as well: %s', async path => {
    const w = await report()
    expect((await w.ask(`/ops/data/${path}`)).status).toBeLessThan(500)
    expect(await data<Overview>(w, 'overview')).toMatchObject({ source: { kind: 'gateway' }, totals: { bypasses: 2, fallbacks: 2 } })
  })
})
