import { describe, expect, it } from 'vitest'
import { LastResort, paceOf } from '../../src/calls/last-resort.ts'
import type { Rest } from '../../src/domain/cooldown.ts'
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
    ['a short guess at the most once a second', 2 * SECOND, false, 0, SECOND],
    ['never beyond the rest', 30 * SECOND, false, 29 * SECOND, SECOND],
    ['a rest that is over has none', SECOND, true, 2 * SECOND, 0],
  ])('%s', (_what, restMs, isPromised, agoMs, pace) => {
    const now = 1_900_000_000_000
    expect(paceOf({ since: now - agoMs, until: now - agoMs + restMs, isPromised }, now)).toBe(pace)
  })
})

function world() {
  const clock = new TestClock()
  let rest: Rest | undefined = {
    since: clock.now(),
    until: clock.now() + 20 * SECOND,
    because: 'rate_limit',
    isPromised: true,
    consecutiveFailures: 1,
    credential: {},
  }
  const lastResort = new LastResort({ clock })
  return {
    clock,
    wakes: () => {
      rest = undefined
    },
    enter: async (signal?: AbortSignal) => lastResort.enter('me', () => (rest && rest.until > clock.now() ? rest : undefined), signal),
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
    w.clock.advance(19 * SECOND)
    expect(await w.enter()).toEqual({ attempt: 'none' })
    w.clock.advance(SECOND)
    expect(await w.enter()).toEqual({ attempt: 'over' })
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
