import { type Clock, systemClock } from '../tools/clock.ts'

/** Tokens nobody knows that are looked into one after the other, and how long it takes until one more is. */
const MOST = 10
const ANOTHER_EVERY_MS = 10_000

/**
 * How many tokens that nobody knows are looked for in the store, answered and recorded one by one. A client that holds a
 * known token is not turned away for another caller's guesses: they would be a way to lock it out, and no number of guesses
 * finds a token. Only one that another process gave out within the last second may be asked to come again.
 */
export class GuessLimit {
  readonly #clock: Clock
  #left = MOST
  #countedAt: number

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    this.#countedAt = clock.monotonic()
  }

  /** Gives one back: it was no guess. */
  giveBack(): void {
    this.#left = Math.min(MOST, this.#left + 1)
  }

  /** Takes one. @returns Milliseconds to wait when there is none left, else 0. */
  take(): number {
    const now = this.#clock.monotonic()
    const more = Math.floor((now - this.#countedAt) / ANOTHER_EVERY_MS)
    if (more > 0) {
      this.#left = Math.min(MOST, this.#left + more)
      this.#countedAt += more * ANOTHER_EVERY_MS
    }
    if (this.#left === 0) return this.#countedAt + ANOTHER_EVERY_MS - now
    this.#left -= 1
    return 0
  }
}
