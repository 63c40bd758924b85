/** The middle of some measurements, with how far they lie apart: half of them are from `lower` to `upper`. */
export interface Spread {
  readonly median: number
  /** First quartile (nearest rank). */
  readonly lower: number
  /** Third quartile (nearest rank). */
  readonly upper: number
}

/**
 * The value below or at which `fraction` of all values lie (nearest rank): always one that was measured.
 *
 * @param sorted Values in rising order.
 * @param fraction Above 0, at most 1: 0.99 is the 99th percentile.
 * @throws {RangeError} if there is no value, or the fraction is out of bounds.
 */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  if (!(fraction > 0 && fraction <= 1)) throw new RangeError(`a fraction is above 0 and at most 1, not ${fraction}`)
  const value = sorted[Math.ceil(sorted.length * fraction) - 1]
  if (value === undefined) throw new RangeError('nothing was measured')
  return value
}

/** The middle value; of an even number of values the mean of the two in the middle. @throws {RangeError} without values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const lower = percentile(sorted, 0.5)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? lower
  return (lower + upper) / 2
}

/** @throws {RangeError} without values. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  return { median: median(sorted), lower: percentile(sorted, 0.25), upper: percentile(sorted, 0.75) }
}

/**
 * How two contestants compare, round by round: each value is set against what the other one showed in the same round,
 * seconds apart, so that a machine that becomes slower makes both slower and the comparison holds.
 *
 * @throws {RangeError} if the rounds do not match, or there are none.
 */
export function compare(values: readonly number[], baseline: readonly number[], by: (value: number, base: number) => number): Spread {
  if (values.length !== baseline.length) throw new RangeError(`${values.length} rounds cannot be set against ${baseline.length}`)
  return spread(values.map((value, round) => by(value, baseline[round] as number)))
}

/** For `compare`: how many times the other's value. */
export function ratio(value: number, base: number): number {
  return value / base
}

/** For `compare`: how much more than the other's value. */
export function difference(value: number, base: number): number {
  return value - base
}
