import { uptime } from 'node:os'

/** Time, as everything below the roof sees it: clocks that are replaced in tests. */
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

/**
 * Milliseconds since the machine started, the time it was suspended included; never jumps. Good to 10 ms on Linux, to a
 * second elsewhere.
 *
 * `performance.now` and `process.hrtime` read CLOCK_MONOTONIC, which stands still while a machine sleeps; the wall clock
 * continues but jumps when it is set.
 */
export function uptimeMs(): number {
  try {
    return uptime() * 1000
  } catch {
    // A sandbox without a way to read it.
    return performance.now()
  }
}
