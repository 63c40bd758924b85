import { describe, expect, it } from 'vitest'
import { type Cooldown, type CooldownEvent, concerns, isResting, markOf, nextCooldown, READY } from '../../src/domain/cooldown.ts'
import type { Credential, StoredProfile } from '../../src/domain/credential.ts'
import { ATTEMPT_OUTCOMES, type AttemptOutcome } from '../../src/domain/enums.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'

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

  it('is a day at most, whatever the provider says', () => {
    const cooldown = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit', retryAfterMs: 365 * 24 * HOUR }, NOW)
    expect(cooldown).toMatchObject({ until: NOW + 24 * HOUR })
  })

  it('is one failure for all calls that fail while it lasts', () => {
    const first = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit' }, NOW)
    const second = nextCooldown(first, { type: 'failed', outcome: 'rate_limit' }, NOW + 10)
    expect(second).toBe(first)
    expect(second).toMatchObject({ consecutiveFailures: 1 })
  })

  it('ends for good with a success', () => {
    const tired = nextCooldown(READY, { type: 'failed', outcome: 'billing' }, NOW)
    const rested = nextCooldown(tired, { type: 'succeeded' }, NOW + 1)
    expect(rested).toEqual(READY)
    expect(nextCooldown(rested, { type: 'failed', outcome: 'billing' }, NOW + 2)).toMatchObject({ consecutiveFailures: 1 })
  })

  it('is over at its very moment', () => {
    const cooldown = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit' }, NOW)
    expect(isResting(cooldown, NOW + 30 * SECOND - 1)).toBe(true)
    expect(isResting(cooldown, NOW + 30 * SECOND)).toBe(false)
    expect(isResting(READY, NOW)).toBe(false)
  })
})

/** A rest with what failed at `NOW`, and what it is after another failure half a second later. */
function afterBoth(first: AttemptOutcome, firstMs: number | undefined, second: AttemptOutcome, secondMs: number | undefined): Cooldown {
  const failed = (outcome: AttemptOutcome, retryAfterMs: number | undefined): CooldownEvent => ({
    type: 'failed',
    outcome,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
  return nextCooldown(nextCooldown(READY, failed(first, firstMs), NOW), failed(second, secondMs), NOW + 500)
}

// Seen: a success that had begun earlier ended a 402's five hours; `Retry-After: 20` during a rest of 3 s was forgotten.
// Why: every success ended a rest, and a failure while resting changed nothing.
// Fix: an outcome counts only against what was known when its attempt began; the longer and the graver failure holds.
// Issue 22, E2.
describe('what comes while a profile rests', () => {
  it.each<[AttemptOutcome, number | undefined, AttemptOutcome, number | undefined, number, AttemptOutcome]>([
    ['rate_limit', 3_000, 'rate_limit', 20_000, 20_500, 'rate_limit'],
    ['rate_limit', 20_000, 'rate_limit', 3_000, 20_000, 'rate_limit'],
    ['rate_limit', 2_000, 'billing', undefined, 5 * HOUR + 500, 'billing'],
    ['billing', 5 * HOUR, 'rate_limit', 2_000, 5 * HOUR, 'billing'],
    ['auth', undefined, 'auth_permanent', undefined, 10 * MINUTE + 500, 'auth_permanent'],
    ['rate_limit', undefined, 'rate_limit', undefined, 30_000, 'rate_limit'],
    ['rate_limit', undefined, 'overloaded', undefined, 30_000, 'rate_limit'],
    ['overloaded', 2_000, 'rate_limit', undefined, 30_500, 'rate_limit'],
    ['overloaded', 60_000, 'rate_limit', 1_000, 60_000, 'rate_limit'],
  ])('%s (%s) and then %s (%s): it rests %i ms, for %s', (first, firstMs, second, secondMs, restMs, because) => {
    expect(afterBoth(first, firstMs, second, secondMs)).toMatchObject({ until: NOW + restMs, because, consecutiveFailures: 1 })
  })

  it('a success that began before takes nothing back, one that began after does', () => {
    const resting = nextCooldown(READY, { type: 'failed', outcome: 'billing' }, NOW)
    expect(nextCooldown(resting, { type: 'succeeded', isBehind: true }, NOW + 1)).toBe(resting)
    expect(nextCooldown(resting, { type: 'succeeded' }, NOW + 1)).toEqual(READY)
  })

  it('a failure that began before is the same failure, however late it comes', () => {
    const over = nextCooldown(READY, { type: 'failed', outcome: 'rate_limit' }, NOW)
    const late = nextCooldown(over, { type: 'failed', outcome: 'rate_limit', isBehind: true }, NOW + HOUR)
    expect(late).toMatchObject({ consecutiveFailures: 1, until: NOW + HOUR + 30_000 })
    expect(nextCooldown(over, { type: 'failed', outcome: 'rate_limit' }, NOW + HOUR)).toMatchObject({ consecutiveFailures: 2 })
  })
})

describe('a server error and a timeout', () => {
  it.each(['server_error', 'timeout'] as const)('%s rests a profile where the provider names a time, and only then', outcome => {
    expect(nextCooldown(READY, { type: 'failed', outcome, retryAfterMs: 9_000 }, NOW)).toMatchObject({ until: NOW + 9_000 })
    expect(nextCooldown(READY, { type: 'failed', outcome }, NOW)).toBe(READY)
  })
})

const login = (access: string, refresh: string, more: object = {}): Credential => ({
  type: 'oauth',
  access,
  refresh,
  generation: 0,
  ...more,
})
const holding = (credential: Credential, more: Partial<StoredProfile> = {}): StoredProfile => ({
  id: 'openai-codex:me',
  provider: 'openai-codex',
  credential,
  ...more,
})

// Seen: signing in again left the profile resting, and the paid key went on serving.
// Why: a rest belonged to the profile's name. Fix: it belongs to the credential that failed, or to the account that is limited.
// Issue 22, D3.
describe('a rest concerns', () => {
  const OLD = login('at1', 'rt1', { account: 'a' })
  const KEY: Credential = { type: 'api_key', key: 'sk-1' }
  const rotated = { rotatedAway: [fingerprint('rt1') ?? ''] }
  it.each<[string, Credential, StoredProfile, { credential: boolean; service: boolean }]>([
    ['the same login', OLD, holding({ ...OLD }), { credential: true, service: true }],
    [
      'the same login after a refresh',
      OLD,
      holding(login('at2', 'rt2', { account: 'a', generation: 1 }), rotated),
      { credential: false, service: true },
    ],
    ['a new login of the account', OLD, holding(login('at9', 'rt9', { account: 'a' })), { credential: false, service: true }],
    ['a login of another account', OLD, holding(login('at9', 'rt9', { account: 'b' })), { credential: false, service: false }],
    [
      'a refresh where no account is known',
      login('at1', 'rt1'),
      holding(login('at2', 'rt2', { generation: 1 }), rotated),
      { credential: false, service: true },
    ],
    [
      'a refresh whose refresh token lives on',
      login('at1', 'rt1'),
      holding(login('at2', 'rt1', { generation: 1 })),
      { credential: false, service: true },
    ],
    [
      'a new login where no account is known',
      login('at1', 'rt1'),
      holding(login('at9', 'rt9'), rotated),
      { credential: false, service: true },
    ],
    ['an unknown login', login('at1', 'rt1'), holding(login('at9', 'rt9')), { credential: false, service: false }],
    ['the same key', KEY, holding({ ...KEY }), { credential: true, service: true }],
    ['another key', KEY, holding({ type: 'api_key', key: 'sk-2' }), { credential: false, service: false }],
    ['a key in place of a login', OLD, holding(KEY), { credential: false, service: false }],
    ['a login in place of a key', KEY, holding(OLD), { credential: false, service: false }],
    [
      'another static token',
      { type: 'token', token: 't1' },
      holding({ type: 'token', token: 't2' }),
      { credential: false, service: false },
    ],
  ])('%s', (_what, failed, profile, expected) => {
    const mark = markOf(failed)
    expect({ credential: concerns('credential', mark, profile), service: concerns('service', mark, profile) }).toEqual(expected)
  })
})
