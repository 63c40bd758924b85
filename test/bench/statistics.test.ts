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
  it('says the middle and both ends', () => {
    expect(spread([0.9, 0.7, 0.8])).toEqual({ median: 0.8, least: 0.7, most: 0.9 })
  })
})

describe('compare', () => {
  it('sets each round against the same round of the other', () => {
    // In the second round the machine was four times slower, for both.
    expect(compare([90, 20, 95], [100, 25, 100], ratio)).toEqual({ median: 0.9, least: 0.8, most: 0.95 })
    expect(compare([5, 9, 4], [4, 4, 4], difference)).toEqual({ median: 1, least: 0, most: 5 })
  })

  it('refuses rounds that do not belong together', () => {
    expect(() => compare([1, 2], [1], ratio)).toThrow('2 rounds cannot be set against 1')
  })
})
