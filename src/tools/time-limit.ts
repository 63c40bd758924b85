import { clearTimeout, setTimeout } from 'node:timers'

/**
 * Waits for `work`, but not for long. Holds the process meanwhile, which the timers and threads of the work itself may not do: a
 * caller waits.
 *
 * @param mostMs Longest wait, in ms.
 * @returns What `work` resolves with; `undefined` when the time is up.
 * @throws What `work` rejects with in time.
 */
export async function settledWithin<Result>(work: Promise<Result>, mostMs: number): Promise<Result | undefined> {
  const { promise: timeUp, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, mostMs, undefined)
  try {
    return await Promise.race([work, timeUp])
  } finally {
    clearTimeout(timer)
  }
}
