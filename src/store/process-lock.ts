import { chmodSync, closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { uptime } from 'node:os'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as wait } from 'node:timers/promises'
import { GatewayError } from '../domain/gateway-error.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { requireOwnDatabase } from './own-files.ts'
import { closed, damagedLock, isSqliteBusy, occupied, sqliteFailure, systemCode } from './store-failure.ts'

/**
 * A small SQLite file that processes lock against each other.
 *
 * SQLite's locks are locks of the operating system: they end with the process that holds them, however it ends, and
 * know neither clocks nor stale files. Nothing waits inside SQLite, and nothing is flushed to the disk: what such a file
 * holds means nothing once the machine was off. A process that is killed inside a transaction leaves a journal that the
 * next one rolls back, because what was written is with the operating system.
 */
export class LockDatabase {
  readonly path: string
  #open: { connection: DatabaseSync; identity: string } | undefined

  constructor(path: string) {
    this.path = path
  }

  /**
   * Begins a transaction that no other process, and no other connection of this one, can begin at the same time.
   *
   * @returns The connection, inside the transaction; `undefined` when another caller is in one.
   * @throws {GatewayError} `GW_STORE_UNWRITABLE`, `GW_STORE_UNREADABLE`, or `GW_STORE_DAMAGED` when the file is no database.
   */
  tryBegin(): DatabaseSync | undefined {
    try {
      return this.#begin()
    } catch (cause) {
      if (isSqliteBusy(cause)) return undefined
      const failure = this.failure(cause)
      if (failure.code !== 'GW_STORE_DAMAGED' || !this.#setAside()) throw failure
      return this.tryBegin()
    }
  }

  /** Ends the transaction of `tryBegin`, keeping what was written. @returns false if a reader prevented it: nothing was written. */
  #tryCommit(connection: DatabaseSync): boolean {
    try {
      connection.exec('COMMIT')
      return true
    } catch (cause) {
      this.undo(connection)
      if (isSqliteBusy(cause)) return false
      throw this.failure(cause)
    }
  }

  /** Runs `work` in a transaction. @returns Its result; `undefined` when another process was in a transaction. @throws as `tryBegin` */
  inTransaction<T>(work: (connection: DatabaseSync) => T): T | undefined {
    const connection = this.tryBegin()
    if (!connection) return undefined
    let result: T
    try {
      result = work(connection)
    } catch (cause) {
      this.undo(connection)
      throw this.failure(cause)
    }
    return this.#tryCommit(connection) ? result : undefined
  }

  /** Ends the transaction of `tryBegin`, keeping nothing. */
  undo(connection: DatabaseSync): void {
    if (connection.isOpen && connection.isTransaction) connection.exec('ROLLBACK')
  }

  /** Says what a failure of this database means for the store. */
  failure(cause: unknown): GatewayError {
    if (cause instanceof GatewayError) return cause
    return sqliteFailure(this.path, cause, () => damagedLock(this.path, cause))
  }

  close(): void {
    this.#open?.connection.close()
    this.#open = undefined
  }

  #begin(): DatabaseSync {
    const connection = this.#connect()
    connection.exec('BEGIN IMMEDIATE')
    return connection
  }

  /**
   * Moves a damaged file away that was last written before this machine started: without flushes, a power failure can
   * leave one behind. The processes that had locks in it are gone. A younger file may be in use, and stays.
   *
   * @returns false when the file stays.
   */
  #setAside(): boolean {
    const found = statSync(this.path, { throwIfNoEntry: false })
    if (!found?.isFile() || found.mtimeMs >= Date.now() - uptime() * 1000) return false
    this.close()
    renameSync(this.path, `${this.path}.damaged`)
    return true
  }

  #connect(): DatabaseSync {
    const identity = this.#identity()
    // The file, or its folder, may have been removed: a lock on a file that no other process can open guards nothing.
    if (this.#open && this.#open.identity === identity) return this.#open.connection
    this.close()
    requireOwnDatabase(this.path)
    this.#create()
    const connection = openDatabase(this.path)
    this.#open = { connection, identity: this.#identity() }
    return connection
  }

  /**
   * Creates the file with mode 0600, or tightens an existing one.
   *
   * An existing file is touched by its path alone: closing any descriptor of it would drop the locks that this very
   * process holds on it (POSIX record locks, sqlite.org/howtocorrupt.html section 2.2).
   */
  #create(): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 })
    try {
      closeSync(openSync(this.path, 'wx', 0o600))
    } catch (cause) {
      if (systemCode(cause) !== 'EEXIST') throw cause
      if (process.platform !== 'win32' && statSync(this.path).mode & 0o077) chmodSync(this.path, 0o600)
    }
  }

  #identity(): string {
    const found = statSync(this.path, { bigint: true, throwIfNoEntry: false })
    return found ? `${found.dev}-${found.ino}` : 'absent'
  }
}

/** Loaded on first use: without a file store SQLite is not needed. */
function openDatabase(path: string): DatabaseSync {
  const { DatabaseSync } = quietSqlite()
  const connection = new DatabaseSync(path, { timeout: 0 })
  try {
    connection.exec('PRAGMA synchronous = OFF')
    return connection
  } catch (cause) {
    connection.close()
    throw cause
  }
}

interface ProcessLockOptions {
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
