import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/tools/clock.ts'

describe('the system clock', () => {
  it('returns wall time and time that only grows', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(60_000)
    const before = systemClock.monotonic()
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(before)
  })
})
