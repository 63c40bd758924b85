import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { firstPauseOf, LastResort, paceOf } from '../../src/calls/last-resort.ts'
import type { Rest } from '../../src/domain/cooldown.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { atTheEnd, type GatewayWorld, gatewayWorld, OPENAI_PROFILE, providersOf } from '../support/gateway-world.ts'
import { TestClock } from '../support/test-clock.ts'

const SECOND = 1_000
const HOUR = 3_600 * SECOND

// Seen: everything rested, and twelve calls made twelve requests within the provider's Retry-After.
// Why: every call tried every profile that rested, for want of others.
// Fix: one attempt at a time, whose outcome the waiting calls share, and a pause after one that failed.
// Issue 22, E7.
describe('the pace of attempts at a profile that rests', () => {
  it.each<[string, number, boolean, number, number]>([
    ['a promise of seconds is kept to', 20 * SECOND, true, 0, 20 * SECOND],
    ['what is left of it counts', 20 * SECOND, true, 5 * SECOND, 15 * SECOND],
    ['a promise of hours may be over sooner', 5 * HOUR, true, 0, 60 * SECOND],
    ['a guess of ours is tried some times', 30 * SECOND, false, 0, 5 * SECOND],
    ['a long guess once a minute', 5 * HOUR, false, 0, 60 * SECOND],
    ['a short guess at most once a second', 2 * SECOND, false, 0, SECOND],
    ['never beyond the rest', 30 * SECOND, false, 29 * SECOND, SECOND],
    ['a rest that is over has none', SECOND, true, 2 * SECOND, 0],
  ])('%s', (_what, restMs, isPromised, agoMs, pace) => {
    const now = 1_900_000_000_000
    expect(paceOf({ since: now - agoMs, until: now - agoMs + restMs, isPromised }, now)).toBe(pace)
  })
})

// Seen: a provider's Retry-After of 20 s, and one more request at once; the same after each restart.
// Why: the pause was reckoned from the first attempt that failed while all rested.
// Fix: it is reckoned from the beginning of the rest, which is stored. Issue 22, E7.
describe('the pause before the first attempt', () => {
  it.each<[string, number, boolean, number, number]>([
    ['is the promise', 20 * SECOND, true, 0, 20 * SECOND],
    ['counts from the beginning of the rest', 20 * SECOND, true, 5 * SECOND, 15 * SECOND],
    ['is a minute of a promise of hours', 5 * HOUR, true, 10 * SECOND, 50 * SECOND],
    ['is a part of a guess', 30 * SECOND, false, SECOND, 4 * SECOND],
    ['ends', 5 * HOUR, true, 2 * HOUR, 0],
    ['is no longer after the clock was set back', 5 * HOUR, true, -HOUR, 60 * SECOND],
  ])('%s', (_what, restMs, isPromised, agoMs, pauseMs) => {
    const now = 1_900_000_000_000
    expect(firstPauseOf({ since: now - agoMs, until: now - agoMs + restMs, isPromised }, now)).toBe(pauseMs)
  })
})

/** A profile that rests by a promise, and whose first pause is over. */
function world({ restMs = HOUR, agoMs = 60 * SECOND } = {}) {
  const clock = new TestClock()
  let rest: Rest | undefined = {
    since: clock.now(),
    until: clock.now() + restMs,
    because: 'rate_limit',
    isPromised: true,
    consecutiveFailures: 1,
    credential: {},
  }
  const lastResort = new LastResort({ clock })
  clock.advance(agoMs)
  return {
    clock,
    restsAnew: () => {
      if (rest) rest = { ...rest, since: clock.now(), until: clock.now() + restMs }
    },
    wakes: () => {
      rest = undefined
    },
    enter: async (signal?: AbortSignal) =>
      lastResort.enter('me', () => (rest && rest.until > clock.now() ? rest : undefined), 10_000, signal),
  }
}

describe('a crowd before a profile that rests', () => {
  it('gets one attempt, and shares its failure', async () => {
    const w = world()
    const first = await w.enter()
    const crowd = [w.enter(), w.enter(), w.enter()]
    if (first.attempt === 'paced') first.leave()
    expect([first.attempt, ...(await Promise.all(crowd)).map(({ attempt }) => attempt)]).toEqual(['paced', 'none', 'none', 'none'])
    expect(await w.enter()).toEqual({ attempt: 'none' })
  })

  it('goes on when the attempt is served', async () => {
    const w = world()
    const first = await w.enter()
    const crowd = [w.enter(), w.enter()]
    w.wakes()
    if (first.attempt === 'paced') first.leave()
    expect((await Promise.all(crowd)).map(({ attempt }) => attempt)).toEqual(['over', 'over'])
  })

  it('gets the next attempt when the promised time has passed', async () => {
    const w = world()
    const first = await w.enter()
    if (first.attempt === 'paced') first.leave()
    w.clock.advance(59 * SECOND)
    expect(await w.enter()).toEqual({ attempt: 'none' })
    w.clock.advance(SECOND)
    expect(await w.enter()).toMatchObject({ attempt: 'paced' })
  })

  it('gets none within a short promise, and goes on after it', async () => {
    const w = world({ restMs: 20 * SECOND, agoMs: 0 })
    expect(await w.enter()).toEqual({ attempt: 'none' })
    w.clock.advance(19 * SECOND)
    expect(await w.enter()).toEqual({ attempt: 'none' })
    w.clock.advance(SECOND)
    expect(await w.enter()).toEqual({ attempt: 'over' })
  })

  it('is not held up by the pause of a rest that is over', async () => {
    const w = world()
    const first = await w.enter()
    w.clock.advance(59 * SECOND)
    if (first.attempt === 'paced') first.leave()
    w.restsAnew()
    w.clock.advance(59 * SECOND)
    expect(await w.enter()).toEqual({ attempt: 'none' })
    w.clock.advance(SECOND)
    expect(await w.enter()).toMatchObject({ attempt: 'paced' })
  })

  it('loses a caller that leaves, and not its attempt', async () => {
    const w = world()
    const first = await w.enter()
    const leaving = new AbortController()
    const waiting = w.enter(leaving.signal)
    leaving.abort()
    expect(await waiting).toEqual({ attempt: 'aborted' })
    expect(first.attempt).toBe('paced')
  })

  it('is not held up by an attempt that is left twice', async () => {
    const w = world()
    const first = await w.enter()
    if (first.attempt !== 'paced') throw new Error('the first gets the attempt')
    first.leave()
    first.leave()
    expect(await w.enter()).toEqual({ attempt: 'none' })
  })
})

describe('eight workers whose every profile rests', () => {
  const profiles = { ...OPENAI_PROFILE, 'openai:second': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY' } }
  const requests = (w: GatewayWorld) => w.simulator.counts().providerCalls.total

  /** Each makes some calls, one after the other. */
  async function work(w: GatewayWorld): Promise<void> {
    const worker = async () => {
      for (let call = 0; call < 3; call += 1) {
        const { status, headers } = await w.chat()
        expect(status).toBe(503)
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(300)
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
  }

  it('send nothing within the promised time, and nothing after a restart within it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gatewatch-paced-'))
    atTheEnd(() => rm(folder, { recursive: true, force: true }))
    const w = await gatewayWorld({ store: fileStore(folder), profiles })
    w.simulator.inject({ where: 'provider', status: 429, headers: { 'retry-after': '600' } })
    await Promise.all(Array.from({ length: 8 }, () => w.chat()))
    const met = requests(w)
    await work(w)
    expect(requests(w)).toBe(met)
    await w.watch.close()
    const later = await gatewayWorld({ store: fileStore(folder), profiles, providers: () => providersOf(w.simulator) })
    await work(later)
    expect(requests(w)).toBe(met)
  })
})
