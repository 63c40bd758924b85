const FREE = 0
const TAKEN = 1
const TURN = 0
const SETTLED = 1

/**
 * Whose turn it is to write: the thread of the event store, or the main thread of a process that exits and cannot wait for a
 * message. In memory that both share, so that no batch is written twice and none is left out.
 */
export class WriteTurn {
  readonly #cells: Int32Array

  /** @param shared That of the other thread. */
  constructor(shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.#cells = new Int32Array(shared)
  }

  get shared(): SharedArrayBuffer {
    return this.#cells.buffer as SharedArrayBuffer
  }

  /**
   * Takes the turn; blocks the calling thread while the other one has it.
   *
   * @returns false when the other one kept it for `waitMs`.
   */
  take(waitMs: number): boolean {
    const until = performance.now() + waitMs
    while (Atomics.compareExchange(this.#cells, TURN, FREE, TAKEN) !== FREE) {
      const leftMs = until - performance.now()
      if (leftMs <= 0) return false
      Atomics.wait(this.#cells, TURN, TAKEN, leftMs)
    }
    return true
  }

  /** Gives the turn back. */
  release(): void {
    Atomics.store(this.#cells, TURN, FREE)
    Atomics.notify(this.#cells, TURN)
  }

  /** Number of the last batch that was written, by either thread. */
  get settled(): number {
    return Atomics.load(this.#cells, SETTLED)
  }

  /** To be called with the turn taken. */
  settle(batch: number): void {
    Atomics.store(this.#cells, SETTLED, batch)
  }
}
