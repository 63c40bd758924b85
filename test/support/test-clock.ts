import type { Clock } from '../../src/tools/clock.ts'

/** A clock that stands still until a test advances it. */
export class TestClock implements Clock {
  #elapsedMs = 0
  readonly #startedAt = Date.now()

  now(): number {
    return this.#startedAt + this.#elapsedMs
  }

  monotonic(): number {
    return this.#elapsedMs
  }

  advance(ms: number): void {
    this.#elapsedMs += ms
  }
}
