import { describe, expect, it } from 'vitest'
import { gateBypasses } from '../../../src/events/queries/bypasses.ts'
import { newestRefreshes, refreshCallers } from '../../../src/events/queries/callers.ts'
import { callStatistics } from '../../../src/events/queries/calls.ts'
import { fallbackWays } from '../../../src/events/queries/fallbacks.ts'
import { storeOverview } from '../../../src/events/queries/overview.ts'
import { profileEvents } from '../../../src/events/queries/profiles.ts'
import { EVENT_QUERIES } from '../../../src/events/queries/queries.ts'
import { refreshSpeedscope, refreshStacks } from '../../../src/events/queries/stacks.ts'
import { traceSpans } from '../../../src/events/queries/trace.ts'
import { ALL, filledStore, NOON, traceIdOf } from './filled-store.ts'

const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0)
const MINUTE = 60_000

describe('the view of callers', () => {
  it('counts who refreshes, why, which way and how it ended, with all that events stand for', () => {
    const { database, refresh, add } = filledStore()
    refresh({ standsFor: 3 })
    refresh({ startMs: NOON + 30 * MINUTE })
    refresh({ outcome: 'invalidated', isError: true, startMs: NOON + MINUTE })
    refresh({ via: 'bypass', outcome: undefined, caller: { label: 'src/b.ts#g' } })
    // Neither a token request of another grant nor an acquisition that got a stored token is a refresh.
    refresh({ grant: 'other' })
    add('acquire', { reason: 'expired', decision: 'reuse' })
    // One that was answered with another caller's answer is.
    add('acquire', { reason: 'unknown', decision: 'join', via: 'bypass', outcome: 'rotated' })
    const { total, failures, callers } = refreshCallers(database, ALL)
    expect([total, failures]).toEqual([7, 1])
    expect(callers.map(({ caller, reason, via, outcome, count }) => [caller, reason, via, outcome, count])).toEqual([
      ['src/a.ts#f', 'expired', 'gate', 'rotated', 4],
      ['src/a.ts#f', 'expired', 'gate', 'invalidated', 1],
      ['src/a.ts#f', 'unknown', 'bypass', 'rotated', 1],
      ['src/b.ts#g', 'expired', 'bypass', '', 1],
    ])
    expect(callers[0]).toMatchObject({ failures: 0, lastMs: NOON + 30 * MINUTE, lastTrace: traceIdOf(2), perHour: 4 })
    for (const { trend, count } of callers) expect(sum(trend)).toBe(count)
    expect(callers[0]?.trend.filter(count => count > 0)).toEqual([3, 1])
  })

  it('narrows down to a profile, a reason, an outcome, a way, a caller, a stack, a frame, a time', () => {
    const { database, refresh } = filledStore()
    refresh({ caller: { stackId: 's1', stack: 'f (src/a.ts:3:1)\nmain (src/main.ts:9:2)' } })
    refresh({ profile: 'p:b', reason: 'forced', via: 'bypass', outcome: 'malformed', caller: { label: 'src/b.ts#g' } })
    refresh({ profile: undefined, startMs: NOON + 10 * MINUTE })
    const total = (filter: object) => newestRefreshes(database, { ...ALL, ...filter }).total
    expect(total({})).toBe(3)
    expect(total({ profile: 'p:b' })).toBe(1)
    expect(total({ profile: 'unknown' })).toBe(1)
    expect(total({ reason: 'forced' })).toBe(1)
    expect(total({ outcome: 'malformed' })).toBe(1)
    expect(total({ via: 'bypass' })).toBe(1)
    expect(total({ caller: 'src/b.ts#g' })).toBe(1)
    expect(total({ stack: 's1' })).toBe(1)
    expect(total({ frame: 'src/main.ts:9' })).toBe(1)
    expect(total({ frame: 'main.ts:9' })).toBe(0)
    expect(total({ frame: 'src/main.ts:99' })).toBe(0)
    expect(total({ fromMs: NOON + MINUTE })).toBe(1)
    expect(total({ toMs: NOON + MINUTE })).toBe(2)
    const { lines } = newestRefreshes(database, ALL)
    expect(lines.map(({ profile }) => profile)).toEqual(['unknown', expect.any(String), expect.any(String)])
    expect(lines[2]).toMatchObject({ atMs: NOON, durationMs: 20, replay: false, failed: expect.any(Boolean) })
  })

  it('has acquisitions that were counted and not stored, where all of them are within the time', () => {
    const { database, acquire, counted } = filledStore()
    acquire({ startMs: NOON + MINUTE })
    counted('acquisition', { caller: 'src/a.ts#f', reason: 'expired', decision: 'reuse' }, 200, { lastMs: NOON + MINUTE })
    counted('acquisition', { caller: 'src/b.ts#g', reason: 'forced', decision: 'lead' }, 2)
    const rows = (filter: object) =>
      refreshCallers(database, { ...ALL, ...filter }).acquisitions.map(({ caller, decision, count, lastTrace }) => [
        caller,
        decision,
        count,
        lastTrace,
      ])
    expect(rows({})).toEqual([
      ['src/a.ts#f', 'reuse', 200, traceIdOf(1)],
      ['src/b.ts#g', 'lead', 2, ''],
    ])
    expect(rows({ reason: 'forced' })).toHaveLength(1)
    expect(rows({ fromMs: NOON + 1 })).toEqual([['src/a.ts#f', 'reuse', 1, traceIdOf(1)]])
    // The counter knows no profiles.
    expect(rows({ profile: 'p:a' })).toEqual([['src/a.ts#f', 'reuse', 1, traceIdOf(1)]])
    expect(rows({ via: 'gate' })).toEqual([])
  })
})

describe('the view of stacks', () => {
  it('grows a tree whose branches add up, and a file that speedscope opens', () => {
    const { database, refresh } = filledStore()
    const caller = { file: 'src/a.ts', line: 3, stackId: 's1', stack: 'f (src/a.ts:3:1)\nmain (src/main.ts:9:2)' }
    refresh({ caller, standsFor: 2 })
    refresh({
      caller: { ...caller, stackId: 's2', stack: 'g (src/a.ts:7:1)\nmain (src/main.ts:9:2)' },
      outcome: 'malformed',
      isError: true,
    })
    refresh()
    const { root, stacks } = refreshStacks(database, ALL)
    expect(stacks).toBe(3)
    expect(root).toMatchObject({ name: 'all refreshes', count: 4, failures: 1 })
    expect(root.children).toMatchObject([
      {
        name: 'main',
        count: 3,
        failures: 1,
        children: [
          { name: 'f', file: 'src/a.ts', line: 3, application: true, count: 2 },
          { name: 'g', count: 1, failures: 1 },
        ],
      },
      { name: 'no stack recorded', count: 1 },
    ])
    const file = refreshSpeedscope(database, { ...ALL, title: 'who refreshes' })
    expect(file.profiles.map(({ endValue, weights }) => [endValue, sum([...weights])])).toEqual([
      [4, 4],
      [1, 1],
    ])
  })
})

describe('the view of bypasses', () => {
  it('shows a bypass with its stack and the last good request to compare its own with', () => {
    const { database, refresh } = filledStore()
    const requestFields = 'grant_type=refresh_token refresh_token=opaque:71'
    refresh({ requestFields, profile: 'p:b' })
    refresh({ requestFields, outcome: 'malformed', isError: true })
    const bad = { via: 'bypass', outcome: 'malformed', isError: true, replay: true, policy: 'observe', httpStatus: 400 } as const
    const caller = { file: 'src/plugin.ts', line: 3, stackId: 's', stack: 'go (src/plugin.ts:3:1)' }
    refresh({ ...bad, requestFields: 'refresh_token=literal:undefined', caller })
    const { total, bypasses } = gateBypasses(database, ALL)
    expect(total).toBe(1)
    expect(bypasses).toMatchObject([
      {
        ...{
          via: 'bypass',
          outcome: 'malformed',
          replay: true,
          failed: true,
          policy: 'observe',
          status: 400,
          file: 'src/plugin.ts',
          line: 3,
        },
        process: 'agent.js (gateway, pid 77)',
        stack: [{ name: 'go', caller: true, application: true }],
        shape: { fields: [{ name: 'refresh_token', value: 'literal:undefined' }] },
        good: { traceId: traceIdOf(1), fields: [{ name: 'grant_type', value: 'refresh_token' }, { name: 'refresh_token' }] },
      },
    ])
    expect(gateBypasses(database, { ...ALL, profile: 'p:b' })).toEqual({ total: 0, bypasses: [], replays: [] })
  })

  it('shows a refresh token that was sent again, where a line of it is wanted', () => {
    const { database, refresh } = filledStore()
    refresh({ refreshFingerprintBefore: 'aa' })
    refresh({ refreshFingerprintBefore: 'aa', via: 'bypass', outcome: 'invalidated', startMs: NOON + MINUTE })
    const { replays } = gateBypasses(database, ALL)
    expect(replays).toMatchObject([
      { fingerprint: 'aa', first: { via: 'gate' }, again: [{ via: 'bypass', process: 'agent.js (gateway, pid 77)' }] },
    ])
    expect(gateBypasses(database, { ...ALL, outcome: 'invalidated' }).replays).toHaveLength(1)
    expect(gateBypasses(database, { ...ALL, reason: 'forced' }).replays).toEqual([])
  })
})

describe('the view of calls', () => {
  it('counts attempts when they ended, by how: good, failed, or given up by their callers', () => {
    const { database, attempt } = filledStore()
    attempt({ standsFor: 10, timeToFirstChunkS: 0.2, durationMs: 1_000 })
    attempt({ outcome: 'rate_limit', isError: true, model: undefined, durationMs: 10_000, startMs: NOON + MINUTE })
    attempt({ outcome: 'aborted', startMs: NOON - 30 * MINUTE, durationMs: 31 * MINUTE })
    const answer = callStatistics(database, { windowMs: 3_600_000, toMs: NOON + 30 * MINUTE })
    expect(answer).toMatchObject({ total: 12, failures: 1, aborts: 1, stepMs: 20_000, fromMs: NOON - 30 * MINUTE })
    expect([sum(answer.good), sum(answer.failed), sum(answer.aborted)]).toEqual([10, 1, 1])
    expect(answer.good.indexOf(10)).toBe(answer.atMs.indexOf(NOON))
    // Right within a bin, which is a quarter wide.
    expect((answer.p50Ms ?? 0) / 1_000).toBeCloseTo(1, 0)
    expect((answer.firstChunkMs ?? 0) / 1_000).toBeCloseTo(0.2, 1)
    expect(answer.p50.filter(point => point !== null)).toHaveLength(2)
    expect(answer.rows.map(({ profile, model, outcome, count, lastTrace }) => [profile, model, outcome, count, lastTrace])).toEqual([
      ['p:a', 'm', 'ok', 10, traceIdOf(1)],
      ['p:a', 'm', 'aborted', 1, traceIdOf(3)],
      ['p:a', 'unknown', 'rate_limit', 1, traceIdOf(2)],
    ])
    expect(callStatistics(database, { ...ALL, outcome: 'aborted' }).total).toBe(1)
    expect(callStatistics(database, { ...ALL, profile: 'p:b' })).toMatchObject({ total: 0, p50Ms: undefined, rows: [] })
  })

  it('counts profiles and models together where there are too many', () => {
    const { database, attempt } = filledStore()
    for (let model = 0; model < 510; model += 1) attempt({ model: `m${model}` })
    const { rows, total } = callStatistics(database, ALL)
    expect(rows).toHaveLength(501)
    expect(rows[0]).toMatchObject({ profile: '_other', model: '_other', outcome: 'ok', count: 10 })
    expect(sum(rows.map(({ count }) => count))).toBe(total)
  })
})

describe('the view of fallbacks', () => {
  it('shows the ways of calls from the preferred profile to the one that served', () => {
    const { database, call } = filledStore()
    const move = { name: 'fallback', atMs: NOON, fallbackFrom: 'p:a', fallbackTo: 'k:b', fallbackReason: 'cooldown' } as const
    call({ standsFor: 5 })
    call({
      profile: 'k:b',
      billing: 'metered',
      billingChanged: true,
      steps: [move, { name: 'joined', atMs: NOON }],
      startMs: NOON + MINUTE,
    })
    call({ isError: true, profile: undefined, preferredProfile: 'p:a', steps: [move] })
    call({ outcome: 'aborted' })
    const answer = fallbackWays(database, ALL)
    expect(answer).toMatchObject({ calls: 8, fellBack: 2, changedBilling: 1, aborted: 1, notServed: 1 })
    const first = { profile: 'p:a', reason: '' }
    const second = { profile: 'k:b', reason: 'cooldown' }
    expect(answer.ways[0]).toMatchObject({ steps: [first], end: 'subscription', count: 5 })
    expect(answer.ways.slice(1)).toEqual(
      expect.arrayContaining([
        { steps: [first, second], end: 'metered', count: 1, lastMs: NOON + MINUTE, lastTrace: traceIdOf(2) },
        { steps: [first, second], end: 'failed', count: 1, lastMs: NOON, lastTrace: traceIdOf(3) },
        { steps: [first], end: 'aborted', count: 1, lastMs: NOON, lastTrace: traceIdOf(4) },
      ]),
    )
    expect(answer.fallbacks).toMatchObject([{ from: 'p:a', to: 'k:b', reason: 'cooldown', count: 2, perHour: 2, lastTrace: traceIdOf(2) }])
    expect(answer.billingChanges).toMatchObject([{ from: 'p:a', to: 'k:b', reason: 'cooldown', count: 1 }])
    expect(answer.timeline.ends.map(({ name, counts }) => [name, sum(counts)])).toEqual([
      ['aborted', 1],
      ['k:b', 1],
      ['not served', 1],
      ['p:a', 5],
    ])
    expect(fallbackWays(database, { ...ALL, profile: 'k:b' }).calls).toBe(2)
  })

  it('counts rare ways together where there are too many', () => {
    const { database, call } = filledStore()
    for (let profile = 0; profile < 210; profile += 1) call({ profile: `p:${profile}` })
    const { ways, calls } = fallbackWays(database, ALL)
    expect(calls).toBe(210)
    expect(ways).toHaveLength(201)
    expect(ways.at(-1)).toMatchObject({ steps: [{ profile: '_other', reason: '' }], count: 10 })
  })
})

describe('the view of profiles', () => {
  it('shows what events say last of each profile, and how its calls went in the time', () => {
    const { database, refresh, attempt } = filledStore()
    refresh({ generation: 4 })
    attempt({ credentialType: 'oauth', billing: 'subscription', credentialExpiresInS: 60, standsFor: 2 })
    attempt({ outcome: 'auth', isError: true, startMs: NOON + MINUTE, credentialType: 'oauth', billing: 'subscription' })
    refresh({ profile: undefined })
    const { profiles } = profileEvents(database, ALL)
    expect(profiles.map(({ profile }) => profile)).toEqual(['p:a', 'unknown'])
    expect(profiles[0]).toMatchObject({
      ...{ provider: 'p', type: 'oauth', billing: 'subscription', expiresAtMs: undefined, generation: 5, deadBy: undefined },
      runtime: { ok: 2, failed: 1, aborted: 0, lastOutcome: 'auth', lastMs: NOON + MINUTE + 20 },
      refreshes: [{ outcome: 'rotated', profile: 'p:a' }],
    })
    expect(profiles[1]).toMatchObject({ runtime: undefined, refreshes: [{}] })
    const later = profileEvents(database, { ...ALL, fromMs: NOON + MINUTE, profile: 'p:a' }).profiles
    expect(later).toMatchObject([{ generation: 5, refreshes: [], runtime: { ok: 0, failed: 1 } }])
  })

  it('has a login end with a refresh that was refused for good, until a sign-in or a call with a new token', () => {
    const { database, refresh, attempt, add } = filledStore()
    const deadBy = () => profileEvents(database, ALL).profiles.map(profile => profile.deadBy)
    const dies = (startMs: number) => refresh({ startMs, outcome: 'invalidated', isError: true })
    attempt({ credentialFingerprint: 'aa', startMs: NOON })
    dies(NOON + 1)
    attempt({ credentialFingerprint: 'aa', startMs: NOON + 2 })
    expect(deadBy()).toEqual(['invalidated'])
    attempt({ credentialFingerprint: 'bb', startMs: NOON + 3 })
    expect(deadBy()).toEqual([undefined])
    dies(NOON + 4)
    expect(deadBy()).toEqual(['invalidated'])
    add('login', { operation: 'revoke', profile: 'p:a', startMs: NOON + 5 })
    expect(deadBy()).toEqual(['invalidated'])
    add('login', { operation: 'login', profile: 'p:a', startMs: NOON + 6 })
    expect(deadBy()).toEqual([undefined])
    refresh({ startMs: NOON + 100, outcome: 'throttled', isError: true })
    expect(deadBy()).toEqual([undefined])
  })
})

describe('a trace', () => {
  it('holds the events of a call and of the refresh that it is linked with, in the order in which they began', () => {
    const { database, add, refresh } = filledStore()
    const traceId = traceIdOf(0xabc)
    const other = refresh({ startMs: NOON + 5 })
    add('acquire', {
      traceId,
      reason: 'expired',
      decision: 'lead',
      links: [{ traceId: other.traceId, spanId: other.spanId }],
      startMs: NOON + 4,
    })
    add('inbound', { traceId, httpMethod: 'POST', httpRoute: '/v1/responses', durationMs: 500 })
    add('call', { traceId, durationMs: 400, profile: 'p:a', isError: true, steps: [{ name: 'fallback', atMs: NOON, fallbackTo: 'k:b' }] })
    const { spans } = traceSpans(database, { traceId })
    expect(spans.map(({ role, name }) => [role, name])).toEqual([
      ['request', 'POST /v1/responses'],
      ['call', 'gatewatch.call'],
      ['acquire', 'gatewatch.gate.acquire'],
      ['refresh', 'gatewatch.oauth.refresh'],
    ])
    expect(spans[1]).toMatchObject({ failed: true, gist: 'p:a', process: 'agent.js (gateway, pid 77)' })
    expect(spans[1]?.events).toEqual([{ name: 'gatewatch.fallback', atMs: NOON, attributes: [['gatewatch.fallback.to', 'k:b']] }])
    expect(spans[3]?.gist).toBe('p:a · expired · gate · rotated')
    expect(traceSpans(database, { traceId: traceIdOf(0xdef) })).toEqual({ traceId: traceIdOf(0xdef), spans: [] })
  })
})

describe('the overview', () => {
  it('counts what was ever seen, also what is no longer stored', () => {
    const { database, refresh, counted } = filledStore()
    refresh({ replay: true, refreshFingerprintBefore: 'aa' })
    counted('refresh', { caller: 'c', reason: 'expired', via: 'gate', outcome: 'rotated' }, 3)
    counted('refresh', { caller: 'c', reason: 'unknown', via: 'bypass' }, 2)
    counted('fallback', { from_profile: 'a', to_profile: 'b', reason: 'cooldown' }, 4)
    expect(storeOverview(database)).toEqual({
      ...{ sinceMs: NOON, events: 0, forgotten: 4 },
      words: { profile: ['p:a'], reason: ['expired', 'unknown'], outcome: ['rotated'], via: ['bypass', 'gate'] },
      totals: { refreshes: 5, bypasses: 2, replays: 1, fallbacks: 4 },
    })
  })
})

describe('every view', () => {
  const views = Object.entries(EVENT_QUERIES)
  const ARGS = { ...ALL, title: '', traceId: traceIdOf(1), frame: 'src/a.ts:1' }

  it.each(views)('answers from an empty store: %s', (_name, query) => {
    expect(query(filledStore().database, ARGS as never)).toBeDefined()
  })

  // One bad byte must not cost the whole answer.
  it.each(views)('leaves a damaged row out: %s', (_name, query) => {
    const { database, refresh, attempt, call } = filledStore()
    for (const add of [refresh, attempt, call]) {
      add({ caller: { stackId: 's', stack: 'f (src/a.ts:1:1)' } })
      add()
    }
    database.exec(`UPDATE event SET rest = 'x' || rest WHERE id % 2 = 1`)
    expect(query(database, ARGS as never)).toBeDefined()
  })

  it.each(views)('looks at no event that an index could pass over: %s', (_name, query) => {
    const { database, refresh } = filledStore()
    refresh({ via: 'bypass', requestFields: 'a=b', outcome: 'invalidated', isError: true })
    const statements: string[] = []
    const prepare = database.prepare.bind(database)
    Object.assign(database, {
      prepare(sql: string) {
        statements.push(sql)
        return prepare(sql)
      },
    })
    query(database, ARGS as never)
    const walks = statements.filter(sql =>
      prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .some(({ detail }) => /^SCAN event$/.test(String(detail))),
    )
    expect(walks).toEqual([])
  })
})
