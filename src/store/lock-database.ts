import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { damagedLock, systemCode, unreadable, unwritable } from './store-failure.ts'

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const SQLITE = { ERROR: 1, PERM: 3, BUSY: 5, READONLY: 8, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const

/**
 * A small SQLite file that processes lock against each other.
 *
 * SQLite's locks are locks of the operating system: they end with the process that holds them, however it ends, and
 * know neither clocks nor stale files. Nothing waits inside SQLite, so the event loop never stands still.
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
   * @returns The connection, inside the transaction; `undefined` when somebody else is in one.
   * @throws {GatewayError} `GW_STORE_UNWRITABLE`, `GW_STORE_UNREADABLE`, or `GW_STORE_DAMAGED` when the file is no database.
   */
  tryBegin(): DatabaseSync | undefined {
    try {
      const connection = this.#connect()
      connection.exec('BEGIN IMMEDIATE')
      return connection
    } catch (cause) {
      if (isBusy(cause)) return undefined
      throw this.failure(cause)
    }
  }

  /** Ends the transaction of `tryBegin`, keeping what was written. @returns false when somebody reading stood in the way: nothing was kept. */
  tryCommit(connection: DatabaseSync): boolean {
    try {
      connection.exec('COMMIT')
      return true
    } catch (cause) {
      this.undo(connection)
      if (isBusy(cause)) return false
      throw this.failure(cause)
    }
  }

  /** Ends the transaction of `tryBegin`, keeping nothing. */
  undo(connection: DatabaseSync): void {
    if (connection.isOpen && connection.isTransaction) connection.exec('ROLLBACK')
  }

  /** Says what a failure of this database means for the store. */
  failure(cause: unknown): Error {
    switch (resultCode(cause)) {
      case SQLITE.ERROR: // tables that are not ours
      case SQLITE.CORRUPT:
      case SQLITE.NOTADB:
        return damagedLock(this.path, cause)
      case SQLITE.FULL:
        return unwritable(this.path, Object.assign(new Error('database or disk is full', { cause }), { code: 'SQLITE_FULL' }))
      case SQLITE.CANTOPEN:
        return unreadable(this.path, cause)
      default:
        return unwritable(this.path, cause)
    }
  }

  close(): void {
    this.#open?.connection.close()
    this.#open = undefined
  }

  #connect(): DatabaseSync {
    const identity = this.#identity()
    // Somebody may have removed the file, or the whole folder, under us: a lock on a file nobody else can find guards nothing.
    if (this.#open && this.#open.identity === identity) return this.#open.connection
    this.close()
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

/** Loaded on first use: whoever needs no file store needs no SQLite either. */
function openDatabase(path: string): DatabaseSync {
  const { DatabaseSync } = quietSqlite()
  return new DatabaseSync(path, { timeout: 0 })
}

function isBusy(cause: unknown): boolean {
  return resultCode(cause) === SQLITE.BUSY
}

/** The primary result code: the lowest byte of the extended one. */
function resultCode(cause: unknown): number | undefined {
  const code = cause instanceof Error ? (cause as { errcode?: unknown }).errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}
