import { systemClock } from '../../src/tools/clock.ts'
import { afterwards } from './clean-up.ts'

/** How long a listing of the store is good for calls, and a little more. */
export const LISTED_MS = 1_100

/**
 * Sets the clock of the process ahead until the test is over, of all that reads it from `systemClock`: what comes with time is there at once.
 * Timers under way and the simulator keep their own time.
 */
export function setClockAhead(ms: number): void {
  const before = { ...systemClock }
  afterwards(() => Object.assign(systemClock, before))
  Object.assign(systemClock, { now: () => before.now() + ms, monotonic: () => before.monotonic() + ms })
}
