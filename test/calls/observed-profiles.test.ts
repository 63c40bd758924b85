import { describe, expect, it } from 'vitest'
import type { ObservedProfile, ReadProfiles } from '../../src/calls/reported-profiles.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { atTheEnd, observed, storedKey } from '../support/gateway-world.ts'

const SECRET = 'observed-canary-0123456789'
const HOUR = 3_600_000
const WORK = { profile: 'codex:work', provider: 'codex' } as const

async function world(read?: ReadProfiles) {
  const faults: unknown[] = []
  const watch = await startGatewatch({
    environment: {},
    store: memoryStore([storedKey('openai:key', 'sk-stored-0001')]),
    onError: fault => faults.push(fault),
  })
  atTheEnd(() => watch.close())
  const end = read && watch.observeProfiles(read)
  const gauge = async (key: 'profileServes' | 'tokenExpiry' | 'generation') =>
    (await w.series(key)).filter(({ labels }) => labels.provider === 'codex').map(({ labels, value }) => [labels.profile, value])
  const states = async () =>
    (await w.series('profileState'))
      .filter(({ labels, value }) => labels.provider === 'codex' && value === 1)
      .map(({ labels }) => labels.state)
  const profiles = async () => (await watch.profiles()).filter(({ provider }) => provider === 'codex')
  const w = observed(watch)
  return { watch, end, faults, gauge, states, profiles, messages: () => faults.map(fault => (fault as Error).message) }
}

describe('profiles of the application', () => {
  it('are gauges and snapshots beside those of the store, read at each scrape until the observation ends', async () => {
    const expiresAt = Date.now() + HOUR
    let generation = 3
    const w = await world(async () => [{ ...WORK, billing: 'subscription', expiresAt: new Date(expiresAt), generation }])
    expect(await w.states()).toEqual(['ready'])
    expect(await w.gauge('tokenExpiry')).toEqual([['codex:work', Math.round(expiresAt / 1000)]])
    generation = 4
    expect(await w.gauge('generation')).toEqual([['codex:work', 4]])
    expect(await w.gauge('profileServes')).toEqual([['codex:work', 1]])
    const [snapshot] = await w.profiles()
    expect(snapshot).toMatchObject({
      profile: 'codex:work',
      type: 'oauth',
      billing: 'subscription',
      state: 'ready',
      serves: true,
      generation: 4,
    })
    expect(snapshot?.expiresInSeconds).toBeGreaterThan(3_590)
    expect((await w.watch.profiles()).map(({ profile }) => profile)).toEqual(['openai:key', 'codex:work'])
    w.end?.()
    expect(await w.states()).toEqual([])
    expect(await w.profiles()).toEqual([])
    expect(w.faults).toEqual([])
  })

  it.each<[string, Omit<ObservedProfile, 'profile' | 'provider'>, object, number]>([
    ['a key', { type: 'api_key' }, { state: 'ready', serves: true, type: 'api_key' }, 1],
    ['a login whose token expires soon', { expiresAt: Date.now() + 60_000 }, { state: 'expiring', serves: true }, 1],
    [
      'a login whose token has expired, and is refreshed on the way',
      { expiresAt: Date.now() - HOUR },
      { state: 'expired', serves: true },
      1,
    ],
    [
      'a token that nothing can refresh',
      { type: 'token', expiresAt: Date.now() - HOUR },
      { state: 'expired', serves: false, whyNot: 'expired' },
      0,
    ],
    ['a used-up quota', { restsUntil: Date.now() + HOUR }, { state: 'resting', serves: false, whyNot: 'cooldown' }, 0],
    ['a rest that is over', { restsUntil: Date.now() - HOUR }, { state: 'ready', serves: true }, 1],
    ['a login that is dead', { state: 'needs_login' }, { state: 'needs_login', serves: false, whyNot: 'needs_login' }, 0],
    ['one that the application keeps back', { serves: false }, { state: 'ready', serves: false }, 0],
  ])('%s', async (_what, facts, expected, serves) => {
    const w = await world(() => [{ ...WORK, ...facts }])
    expect(await w.profiles()).toEqual([expect.objectContaining(expected)])
    expect(await w.gauge('profileServes')).toEqual([['codex:work', serves]])
    expect(w.faults).toEqual([])
  })

  it('say of a fallback how both are paid for, and rest by a note', async () => {
    const w = await world(() => [
      { ...WORK, billing: 'subscription' },
      { profile: 'codex:key', provider: 'codex', billing: 'metered' },
    ])
    await w.watch.profiles()
    w.watch.noteFallback({ from: 'codex:work', to: 'codex:key', reason: 'billing' })
    w.watch.noteCooldown({ profile: 'codex:work', reason: 'billing', durationMs: HOUR })
    expect(await observed(w.watch).labels('billingChanges')).toEqual([
      { provider: 'codex', from: 'codex:work', to: 'codex:key', reason: 'billing' },
    ])
    expect(await w.gauge('profileServes')).toEqual([
      ['codex:work', 0],
      ['codex:key', 1],
    ])
  })

  it('hand no token over: what is no field of a profile is not read, and reported once', async () => {
    const w = await world(() => [{ ...WORK, accessToken: SECRET, refresh: SECRET } as ObservedProfile])
    expect(await w.profiles()).toMatchObject([{ profile: 'codex:work', state: 'ready' }])
    expect(await w.profiles()).toHaveLength(1)
    expect(JSON.stringify(await w.profiles())).not.toContain(SECRET)
    expect((await w.watch.metrics()).body).not.toContain(SECRET)
    expect(w.messages()).toEqual([
      expect.stringMatching(/^observeProfiles: accessToken is an unknown key and is not read, allowed: profile, /),
    ])
  })

  it('that are none are left out, and reported', async () => {
    const bad = { ...WORK, expiresAt: SECRET, state: 'tired' } as unknown as ObservedProfile
    const w = await world(() => [bad, { ...WORK, profile: 'codex:other' }])
    expect(await w.profiles()).toMatchObject([{ profile: 'codex:other' }])
    expect(w.messages()).toEqual([
      expect.stringMatching(/^observeProfiles: state is another text, allowed: ready, /),
      'observeProfiles: expiresAt is another text, allowed: epoch milliseconds (not seconds) or a Date',
    ])
  })

  it.each<[string, ReadProfiles, unknown]>([
    [
      'throws',
      () => {
        throw new RangeError(SECRET)
      },
      new RangeError(SECRET),
    ],
    ['rejects', () => Promise.reject(new RangeError(SECRET)), new RangeError(SECRET)],
    ['returns no array', () => ({}) as never, expect.objectContaining({ code: 'GW_CONFIG' })],
    [
      'does not answer',
      () => new Promise(() => undefined),
      expect.objectContaining({ code: 'GW_CONFIG', message: expect.stringContaining('1 s') }),
    ],
  ])('whose callback %s are absent, which is reported once; the others are there', async (_what, read, fault) => {
    const w = await world(read)
    w.watch.observeProfiles(() => [WORK])
    expect(await w.profiles()).toMatchObject([{ profile: 'codex:work' }])
    expect(await w.states()).toEqual(['ready'])
    expect(w.faults).toEqual([fault])
  })

  it('are read by a function only', async () => {
    const w = await world()
    expect(() => w.watch.observeProfiles([WORK] as never)).toThrow(/got a value of type object, allowed: a function/)
  })
})
