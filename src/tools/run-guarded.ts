/**
 * Runs `work` inside the host: what it throws is reported to `onFault` and never reaches the caller, nor does a fault of
 * `onFault` itself.
 *
 * @returns What `work` returns; `undefined` where it throws.
 */
export function runGuarded<Result>(work: () => Result, onFault: (fault: unknown) => void): Result | undefined {
  try {
    return work()
  } catch (fault) {
    try {
      onFault(fault)
    } catch {
      // A listener for faults that has one itself cannot be reported to.
    }
    return undefined
  }
}
