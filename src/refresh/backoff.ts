/** Grows the pause between refreshes that keep failing for a reason that may pass. */
interface Pause {
  readonly until: number
  readonly failures: number
}

const FIRST_MS = 1_000
const LONGEST_MS = 60_000
/** A provider may ask for more patience than we would have, but not for ever. */
const LONGEST_RETRY_AFTER_MS = 3_600_000

/** When each profile may be refreshed again after transient failures. Process-local: every process has its own network. */
export class Backoff {
  readonly #pauses = new Map<string, Pause>()
  readonly #random: () => number

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** Milliseconds to wait from `now`; 0 when the profile may be refreshed. */
  remainingMs(profileId: string, now: number): number {
    return Math.max(0, (this.#pauses.get(profileId)?.until ?? 0) - now)
  }

  /**
   * Notes a transient failure. `Retry-After` beats our own ladder; jitter keeps processes that failed together from
   * coming back together.
   */
  failed(profileId: string, now: number, retryAfterMs?: number): void {
    const failures = (this.#pauses.get(profileId)?.failures ?? 0) + 1
    const step = Math.min(FIRST_MS * 2 ** (failures - 1), LONGEST_MS)
    const pause = retryAfterMs === undefined ? step / 2 + (step / 2) * this.#random() : Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS)
    this.#pauses.set(profileId, { until: now + pause, failures })
  }

  succeeded(profileId: string): void {
    this.#pauses.delete(profileId)
  }
}
