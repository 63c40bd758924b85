import { describe, expect, it } from 'vitest'
import { compare, difference, median, percentile, ratio, spread } from '../../bench/statistics.ts'

const oneToHundred = Array.from({ length: 100 }, (_, index) => index + 1)

describe('percentile', () => {
  it.each([
    [0.5, 50],
    [0.99, 99],
    [0.991, 100],
    [1, 100],
    [0.001, 1],
  ])('of one to a hundred at %d is %d', (fraction, expected) => {
    expect(percentile(oneToHundred, fraction)).toBe(expected)
  })

  it('of a single value is that value, whatever the fraction', () => {
    expect([0.01, 0.5, 0.99, 1].map(fraction => percentile([7], fraction))).toEqual([7, 7, 7, 7])
  })

  it('reads typed arrays as they are', () => {
    expect(percentile(Float64Array.of(0.25, 0.5, 4), 0.99)).toBe(4)
  })

  it('refuses to speak of nothing, and of fractions that are none', () => {
    expect(() => percentile([], 0.5)).toThrow('nothing was measured')
    for (const fraction of [0, -1, 1.01, 99, Number.NaN]) expect(() => percentile([1], fraction)).toThrow(RangeError)
  })
})

describe('median', () => {
  it('is the middle one, in whatever order the values came', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([3])).toBe(3)
  })

  it('lies between the two in the middle when their number is even', () => {
    expect(median([10, 1, 2, 4])).toBe(3)
  })

  it('sorts by number, not by text', () => {
    expect(median([100, 9, 20])).toBe(20)
  })

  it('leaves the values as they were', () => {
    const values = [3, 1, 2]
    median(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('refuses to speak of nothing', () => {
    expect(() => median([])).toThrow('nothing was measured')
  })
})

describe('spread', () => {
  it('says the middle and where the middle half begins and ends', () => {
    expect(spread([8, 1, 6, 3, 7, 2, 5, 4])).toEqual({ median: 4.5, lower: 2, upper: 6 })
    expect(spread([50, 10, 40, 20, 30])).toEqual({ median: 30, lower: 20, upper: 40 })
  })

  it('is not moved by one round that something else disturbed', () => {
    expect(spread([0.9, 0.91, 0.92, 0.93, 17])).toEqual({ median: 0.92, lower: 0.91, upper: 0.93 })
  })

  it('of one value is that value', () => {
    expect(spread([3])).toEqual({ median: 3, lower: 3, upper: 3 })
  })
})

describe('compare', () => {
  it('sets each round against the same round of the other', () => {
    // In the second round the machine was four times slower, for both.
    expect(compare([90, 20, 95], [100, 25, 100], ratio)).toEqual({ median: 0.9, lower: 0.8, upper: 0.95 })
    expect(compare([5, 9, 4], [4, 4, 4], difference)).toEqual({ median: 1, lower: 0, upper: 5 })
  })

  it('refuses rounds that do not belong together', () => {
    expect(() => compare([1, 2], [1], ratio)).toThrow('2 rounds cannot be set against 1')
  })
})
