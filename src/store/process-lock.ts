import { setTimeout as wait } from 'node:timers/promises'
import { LockDatabase } from './lock-database.ts'
import { closed, occupied } from './store-failure.ts'

export interface ProcessLockOptions {
  /** Longest wait for another process that is inside, in ms. @default 30_000 */
  waitMs?: number
}

export const PROCESS_LOCK_DEFAULTS = { waitMs: 30_000 } as const satisfies Required<ProcessLockOptions>

const SHORTEST_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 25

/**
 * Lets one piece of work at a time in, across all processes that use the same lock file.
 *
 * Callers of this process queue; the first of them then competes with the other processes for an SQLite transaction,
 * which stays open while the work runs. A process that dies inside lets the next one in at once.
 */
export class ProcessLock {
  readonly #database: LockDatabase
  readonly #waitMs: number
  #lastInQueue: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(path: string, { waitMs = PROCESS_LOCK_DEFAULTS.waitMs }: ProcessLockOptions = {}) {
    this.#database = new LockDatabase(path)
    this.#waitMs = waitMs
  }

  /**
   * Runs `work` alone. Not reentrant: work that calls `run` again waits for itself.
   *
   * @throws {GatewayError} `GW_STORE_UNWRITABLE` when another process stays inside for longer than `waitMs` or the lock
   *   file cannot be used, `GW_STORE_DAMAGED` when it is no lock file, `GW_CLOSED`; and whatever `work` throws.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closed())
    const deadline = performance.now() + this.#waitMs
    const mine = this.#lastInQueue.then(() => this.#runAlone(work, deadline))
    this.#lastInQueue = mine.catch(() => {}) // a caller that comes next does not care how we fared
    return mine
  }

  /** Lets the queue run empty, then closes the lock file. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#lastInQueue
    this.#database.close()
  }

  async #runAlone<T>(work: () => Promise<T>, deadline: number): Promise<T> {
    let pauseMs = SHORTEST_PAUSE_MS
    let connection = this.#database.tryBegin()
    while (!connection) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw occupied(this.#database.path, this.#waitMs)
      await wait(Math.min(leftMs, pauseMs * (0.5 + Math.random())))
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      connection = this.#database.tryBegin()
    }
    try {
      return await work()
    } finally {
      this.#database.undo(connection)
    }
  }
}
