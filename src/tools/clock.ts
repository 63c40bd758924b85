/** Time, as everything below the roof sees it: two clocks, replaced in tests. */
export interface Clock {
  /** Wall clock, epoch milliseconds. May jump. */
  now(): number
  /** Milliseconds since some start; never jumps, the only clock fit for durations and time limits. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}
