import { describe, expect, it } from 'vitest'
import { ATTEMPT_OUTCOMES, type AttemptOutcome } from '../../otel/words.ts'
import { type Cooldown, isResting, nextCooldown, READY } from '../../src/domain/cooldown.ts'

const NOW = 1_900_000_000_000
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** The rests of a profile that fails again each time it has rested. */
function rests(outcome: AttemptOutcome, times: number): number[] {
  let cooldown: Cooldown = READY
  let now = NOW
  return Array.from({ length: times }, () => {
    cooldown = nextCooldown(cooldown, { type: 'failed', outcome }, now)
    if (cooldown.state !== 'resting') return 0
    const rest = cooldown.until - now
    now = cooldown.until
    return rest
  })
}

describe('the rest of a profile', () => {
  it.each<[AttemptOutcome, number[]]>([
    ['rate_limit', [30 * SECOND, MINUTE, 5 * MINUTE, 5 * MINUTE]],
    ['overloaded', [30 * SECOND, MINUTE, 5 * MINUTE, 5 * MINUTE]],
    ['auth', [30 * SECOND, MINUTE, 5 * MINUTE, 5 * MINUTE]],
    ['auth_permanent', [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR]],
    ['billing', [5 * HOUR, 10 * HOUR, 20 * HOUR, 24 * HOUR, 24 * HOUR]],
  ])('after %s grows as its ladder says, and its last step repeats', (outcome, expected) => {
    expect(rests(outcome, expected.length)).toEqual(expected)
  })

  const resting: AttemptOutcome[] = ['rate_limit', 'overloaded', 'auth', 'auth_permanent', 'billing']
  it.each(ATTEMPT_OUTCOMES.filter(outcome => !resting.includes(outcome)))(
    'does not come of %s, which says nothing about the profile',
    outcome => {
      expect(nextCooldown(READY, { type: 'failed', outcome }, NOW)).toBe(READY)
    },
  )

  it('is as long as the provider says, if it says', () => {
    expect(nextCooldown(READY, { type: 'failed', outcome: 'rate_limit', retryAfterMs: 2500 }, NOW)).toMatchObject({ until: NOW + 2500 })
  })

  it('is a day at the most, whatever the provider says', () => {
    const cooldown = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit', retryAfterMs: 365 * 24 * HOUR }, NOW)
    expect(cooldown).toMatchObject({ until: NOW + 24 * HOUR })
  })

  it('is one strike for all calls that fail while it lasts', () => {
    const first = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit' }, NOW)
    const second = nextCooldown(first, { type: 'failed', outcome: 'rate_limit' }, NOW + 10)
    expect(second).toBe(first)
    expect(second).toMatchObject({ strikes: 1 })
  })

  it('ends for good with a success', () => {
    const tired = nextCooldown(READY, { type: 'failed', outcome: 'billing' }, NOW)
    const rested = nextCooldown(tired, { type: 'succeeded' }, NOW + 1)
    expect(rested).toEqual(READY)
    expect(nextCooldown(rested, { type: 'failed', outcome: 'billing' }, NOW + 2)).toMatchObject({ strikes: 1 })
  })

  it('is over at its very moment', () => {
    const cooldown = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit' }, NOW)
    expect(isResting(cooldown, NOW + 30 * SECOND - 1)).toBe(true)
    expect(isResting(cooldown, NOW + 30 * SECOND)).toBe(false)
    expect(isResting(READY, NOW)).toBe(false)
  })
})
