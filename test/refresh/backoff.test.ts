import { describe, expect, it } from 'vitest'
import { Backoff } from '../../src/refresh/backoff.ts'

const pauses = (random: number, failures: number) => {
  const backoff = new Backoff(() => random)
  return Array.from({ length: failures }, () => {
    backoff.failed('p', 0)
    return backoff.remainingMs('p', 0)
  })
}

describe('the pause between refreshes that keep failing', () => {
  it('doubles from a second to a minute', () => {
    expect(pauses(1, 9)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  it('is spread by chance over its upper half', () => {
    expect(pauses(0, 3)).toEqual([500, 1_000, 2_000])
    expect(pauses(0.5, 3)).toEqual([750, 1_500, 3_000])
  })

  it('passes with the clock', () => {
    const backoff = new Backoff(() => 1)
    backoff.failed('p', 10_000)
    expect([10_000, 10_999, 11_000, 99_000].map(now => backoff.remainingMs('p', now))).toEqual([1_000, 1, 0, 0])
  })

  it.each([
    ['longer than ours', 30_000, 30_000],
    ['shorter than ours', 10, 10],
    ['none at all', 0, 0],
    ['of a week is an hour', 604_800_000, 3_600_000],
  ])('is what the provider asks for: %s', (_, retryAfterMs, expected) => {
    const backoff = new Backoff(() => 1)
    backoff.failed('p', 0, retryAfterMs)
    expect(backoff.remainingMs('p', 0)).toBe(expected)
  })

  it('is forgotten with a success, ladder and all, and is each profile’s own', () => {
    const backoff = new Backoff(() => 1)
    for (let failure = 0; failure < 5; failure += 1) backoff.failed('p', 0)
    expect(backoff.remainingMs('other', 0)).toBe(0)
    backoff.succeeded('p')
    expect(backoff.remainingMs('p', 0)).toBe(0)
    backoff.failed('p', 0)
    expect(backoff.remainingMs('p', 0)).toBe(1_000)
  })
})
