import { expect, it } from 'vitest'
import { GuessLimit } from '../../src/server/token-gate.ts'
import { TestClock } from '../support/test-clock.ts'

it('lets ten guesses in, then one every ten seconds, and says how long it takes until then', () => {
  const clock = new TestClock()
  const limit = new GuessLimit(clock)
  const take = (times: number) => Array.from({ length: times }, () => limit.take())
  expect(take(12)).toEqual([...Array(10).fill(0), 10_000, 10_000])
  clock.advance(4_000)
  expect(take(1)).toEqual([6_000])
  clock.advance(6_000)
  expect(take(2)).toEqual([0, 10_000])
  clock.advance(3_600_000)
  expect(take(11)).toEqual([...Array(10).fill(0), 10_000])
})
