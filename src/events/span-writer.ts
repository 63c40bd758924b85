import { chmodSync, statSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { ProcessRow } from './process-row.ts'
import { isBusy, pinnedJournal, recorderFailure } from './recorder-failure.ts'
import { createRecorderFile, fileIdentity, openForWriting, recorderFile } from './recorder-file.ts'
import { SPAN_COLUMNS, type SpanTable } from './recorder-schema.ts'
import { Retention, type RetentionOptions } from './retention.ts'
import type { WrittenSpan } from './span-columns.ts'

/** A journal that SQLite empties in time is a quarter as long. */
const LONGEST_JOURNAL_BYTES = 16 * 1024 * 1024

/** The file while it is open. */
interface Open {
  readonly database: DatabaseSync
  readonly identity: string | undefined
  readonly process: StatementSync
  readonly insert: Readonly<Record<SpanTable, StatementSync>>
  readonly fallback: StatementSync
  readonly retention: Retention
}

/**
 * Writes spans into the recorder's file, one transaction at a time. All of it is synchronous and nothing in it waits.
 *
 * The file is opened with the first write, and again when it has been removed or replaced.
 */
export class SpanWriter {
  readonly path: string
  readonly #process: () => ProcessRow
  readonly #bounds: Required<RetentionOptions>
  #row: ProcessRow | undefined
  #open: Open | undefined

  constructor(folder: string, process: () => ProcessRow, bounds: Required<RetentionOptions>) {
    this.path = recorderFile(folder)
    this.#process = process
    this.#bounds = bounds
  }

  /**
   * Writes the spans, all or none, and clears away a little of what is past the bounds.
   *
   * @param dropped Spans that this process could not record since the last time.
   * @param waitMs Longest time the whole process may stand still for others who write. @default 0
   * @returns false when another process is writing just now.
   * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, `GW_STORE_UNREADABLE`, `GW_STORE_UNWRITABLE`.
   */
  tryWrite(spans: readonly WrittenSpan[], dropped: number, waitMs = 0): boolean {
    try {
      const open = this.#connect()
      open.database.exec(`PRAGMA busy_timeout = ${waitMs}`)
      this.#requireRoom(open)
      open.database.exec('BEGIN IMMEDIATE')
      write(open, this.#self(), spans, dropped)
      open.database.exec('COMMIT')
      return true
    } catch (cause) {
      this.#undo()
      if (isBusy(cause)) return false
      // Whatever it was, the next try begins from scratch.
      this.close()
      throw recorderFailure(this.path, cause)
    }
  }

  /** Asked once, with the first write. */
  #self(): ProcessRow {
    this.#row ??= this.#process()
    return this.#row
  }

  /** Closes the file; the last process to do so leaves it without journals. */
  close(): void {
    const open = this.#open
    this.#open = undefined
    try {
      open?.database.close()
    } catch {
      // What was committed stays in the journal, for the next one who opens the file.
    }
  }

  #connect(): Open {
    const identity = fileIdentity(this.path)
    if (this.#open && this.#open.identity === identity) return this.#open
    this.close()
    if (identity === undefined) createRecorderFile(this.path)
    const database = openForWriting(this.path)
    try {
      // SQLite gives its journals the mode of the file itself.
      if (process.platform !== 'win32' && statSync(this.path).mode & 0o077) chmodSync(this.path, 0o600)
      this.#open = {
        database,
        identity: fileIdentity(this.path),
        ...statementsOf(database),
        retention: new Retention(database, this.#bounds),
      }
    } catch (cause) {
      database.close()
      throw cause
    }
    return this.#open
  }

  /** A reader that never stops keeps SQLite from emptying the journal: it would grow without bounds. */
  #requireRoom({ database }: Open): void {
    const most = Math.max(this.#bounds.mostBytes, LONGEST_JOURNAL_BYTES)
    if (this.#journalBytes() <= most) return
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    const bytes = this.#journalBytes()
    if (bytes > most) throw pinnedJournal(this.path, bytes)
  }

  #journalBytes(): number {
    return statSync(`${this.path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  }

  #undo(): void {
    const database = this.#open?.database
    try {
      if (database?.isOpen && database.isTransaction) database.exec('ROLLBACK')
    } catch {
      // Closing ends the transaction too.
      this.close()
    }
  }
}

function write({ process, insert, fallback, retention }: Open, self: ProcessRow, spans: readonly WrittenSpan[], dropped: number): void {
  const nowMs = Date.now()
  const { pid, role, startedMs, title, host } = self
  const { id } = process.get(pid, role, startedMs, title, host, nowMs, dropped) ?? {}
  const processId = Number(id)
  for (const { table, columns, fallbacks } of spans) {
    const { lastInsertRowid: span } = insert[table].run({ process: processId, ...columns })
    for (const { key, atMs } of fallbacks) fallback.run(span, atMs, key.from, key.to, key.reason, key.billingChanged)
  }
  retention.apply(nowMs)
}

function statementsOf(database: DatabaseSync): Pick<Open, 'process' | 'insert' | 'fallback'> {
  return {
    process: database.prepare(
      `INSERT INTO process (pid, role, started_ms, title, host, seen_ms, dropped) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET seen_ms = excluded.seen_ms, dropped = dropped + excluded.dropped RETURNING id`,
    ),
    insert: { interesting: insertInto(database, 'interesting'), ordinary: insertInto(database, 'ordinary') },
    fallback: database.prepare(
      'INSERT INTO fallback (span, at_ms, from_profile, to_profile, reason, billing_changed) VALUES (?, ?, ?, ?, ?, ?)',
    ),
  }
}

function insertInto(database: DatabaseSync, table: SpanTable): StatementSync {
  return database.prepare(
    `INSERT INTO ${table} (${SPAN_COLUMNS.join(', ')}) VALUES (${SPAN_COLUMNS.map(column => `:${column}`).join(', ')})`,
  )
}
