import { chmodSync, statSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { EventProcess } from '../domain/events.ts'
import { type GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { fileIdentity } from '../store/database-file.ts'
import { isSqliteBusy } from '../store/store-failure.ts'
import { type CounterIncrement, CounterTable, countersOf, forgetUnusedCounters } from './event-counters.ts'
import { besideNewerStore, eventStoreFailure, newerEventStore, pinnedJournal } from './event-failure.ts'
import { createEventFile, eventFile, eventVersionOf, openEventFile, openEventMemory, ownEventFile } from './event-file.ts'
import { EventRetention, type EventRetentionOptions } from './event-retention.ts'
import { rowOfEvent, type WrittenEvent } from './event-row.ts'
import { EVENT_COLUMNS, EVENT_SCHEMA, type EventSchema } from './event-schema.ts'
import type { WaitingItem } from './waiting-item.ts'

/** A journal that SQLite empties in time is a quarter as long. */
const LONGEST_JOURNAL_BYTES = 16 * 1024 * 1024
/** A stack in use is marked as such this often. */
const MARK_STACK_MS = 60_000
/** Stacks that are remembered as written. */
const MOST_STACKS = 10_000
/** Rounds of clearing away at the start, each in a transaction of its own. */
const MOST_PRUNE_ROUNDS = 200

/** What is written in one transaction. */
export interface WrittenBatch {
  readonly events: readonly WrittenEvent[]
  readonly counts: readonly CounterIncrement[]
  /** Events that this process could not record since the last time. */
  readonly dropped: number
  /** The process exports to OpenTelemetry itself. */
  readonly exports: boolean
  /** Items that cannot be written at all. */
  readonly unwritable: number
}

/** The store while it is open. */
interface Open {
  readonly database: DatabaseSync
  readonly identity: string | undefined
  readonly process: StatementSync
  readonly event: StatementSync
  readonly stored: StatementSync
  readonly stack: StatementSync
  /** When each stack was marked last. */
  readonly stacks: Map<string, number>
  readonly counters: CounterTable
  readonly retention: EventRetention
}

export interface EventWriterOptions {
  /** The state folder. @default a store in memory */
  readonly folder?: string | undefined
  /** Row of this process; asked with the first write. */
  readonly self: () => EventProcess
  readonly bounds: Required<EventRetentionOptions>
  readonly schema?: EventSchema
}

/**
 * Writes events into the store, one transaction at a time. All of it is synchronous and nothing in it waits.
 *
 * The file is opened with the first write, and again when it has been removed or replaced. Where a later Gatewatch has migrated
 * it, this process goes on in a file of its own.
 */
export class EventWriter {
  readonly #options: EventWriterOptions
  readonly #schema: EventSchema
  #path: string | undefined
  #self: EventProcess | undefined
  #open: Open | undefined
  #besideNewer: GatewayError | undefined

  constructor(options: EventWriterOptions) {
    this.#options = options
    this.#schema = options.schema ?? EVENT_SCHEMA
    this.#path = options.folder === undefined ? undefined : eventFile(options.folder)
  }

  /** Where the events go: a file, or `:memory:`. */
  get path(): string {
    return this.#path ?? ':memory:'
  }

  /** Set where the folder's store is one of a later Gatewatch: `path` is another file then. */
  get besideNewer(): GatewayError | undefined {
    return this.#besideNewer
  }

  /** The open store in memory; `undefined` for one in a file. */
  get memory(): DatabaseSync | undefined {
    return this.#path === undefined ? this.#connect().database : undefined
  }

  /**
   * Writes a batch, all or nothing, and clears away a little of what is past the bounds.
   *
   * @param waitMs Longest time the whole process may stand still for others who write. @default 0
   * @returns false when another process is writing just now.
   * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_UNREADABLE`, `GW_STORE_UNWRITABLE`; `GW_STORE_NEWER` where even the file of its
   *   own is newer.
   */
  tryWrite(batch: WrittenBatch, waitMs = 0): boolean {
    return this.#transaction(waitMs, open => write(open, this.#selfRow(), batch))
  }

  /** Clears away all that is past the bounds. @returns false when another process is writing just now. @throws as `tryWrite` */
  tryPrune(): boolean {
    for (let round = 0; round < MOST_PRUNE_ROUNDS; round += 1) {
      let removed = 0
      const isDone = this.#transaction(0, ({ database, retention }) => {
        const nowMs = Date.now()
        if (round === 0) forgetUnusedCounters(database, nowMs)
        removed = retention.apply(nowMs)
      })
      if (!isDone) return false
      if (removed === 0) return true
    }
    return true
  }

  /** Closes the store; the last process to do so leaves its file without journals. */
  close(): void {
    const open = this.#open
    this.#open = undefined
    try {
      open?.database.close()
    } catch {
      // What was committed stays in the journal, for the next one who opens the file.
    }
  }

  #transaction(waitMs: number, work: (open: Open) => void): boolean {
    try {
      const open = this.#connect()
      open.database.exec(`PRAGMA busy_timeout = ${waitMs}`)
      this.#requireRoom(open)
      open.database.exec('BEGIN IMMEDIATE')
      this.#requireKnown(open)
      work(open)
      open.database.exec('COMMIT')
      return true
    } catch (cause) {
      this.#undo()
      if (isSqliteBusy(cause)) return false
      // Whatever it was, the next try begins from scratch. A store in memory stays: its events exist nowhere else.
      if (this.#path !== undefined) this.close()
      if (isGatewayError(cause, 'GW_STORE_NEWER') && this.#goBeside()) return this.#transaction(waitMs, work)
      throw eventStoreFailure(this.path, cause)
    }
  }

  #selfRow(): EventProcess {
    this.#self ??= this.#options.self()
    return this.#self
  }

  /** Goes on in a file of its own. @returns false where that was tried before. */
  #goBeside(): boolean {
    const { folder } = this.#options
    if (folder === undefined || this.#besideNewer) return false
    const own = ownEventFile(folder, this.#schema.version)
    this.#besideNewer = besideNewerStore(this.path, own)
    this.#path = own
    return true
  }

  /** A later Gatewatch may have migrated the file since it was opened. */
  #requireKnown({ database }: Open): void {
    const found = eventVersionOf(database)
    if (found > this.#schema.version) throw newerEventStore(this.path, found, this.#schema.version)
  }

  #connect(): Open {
    const path = this.#path
    const identity = path === undefined ? undefined : fileIdentity(path)
    if (this.#open && this.#open.identity === identity) return this.#open
    this.close()
    if (path !== undefined && identity === undefined) createEventFile(path, this.#schema)
    const database = path === undefined ? openEventMemory(this.#schema) : openEventFile(path, this.#schema)
    try {
      // SQLite gives its journals the mode of the file itself.
      if (path !== undefined && process.platform !== 'win32' && statSync(path).mode & 0o077) chmodSync(path, 0o600)
      this.#open = {
        database,
        identity: path === undefined ? undefined : fileIdentity(path),
        ...statementsOf(database),
        stacks: new Map(),
        counters: new CounterTable(database),
        retention: new EventRetention(database, this.#options.bounds),
      }
    } catch (cause) {
      database.close()
      throw cause
    }
    return this.#open
  }

  /** A reader that never stops keeps SQLite from emptying the journal: it would grow without bounds. */
  #requireRoom({ database }: Open): void {
    if (this.#path === undefined) return
    const most = Math.max(this.#options.bounds.mostBytes, LONGEST_JOURNAL_BYTES)
    if (journalBytes(this.#path) <= most) return
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    const bytes = journalBytes(this.#path)
    if (bytes > most) throw pinnedJournal(this.#path, bytes)
  }

  #undo(): void {
    const database = this.#open?.database
    this.#open?.stacks.clear()
    try {
      if (database?.isOpen && database.isTransaction) database.exec('ROLLBACK')
    } catch {
      // Closing ends the transaction too.
      this.close()
    }
  }
}

/** What is written of items that wait. */
export function writtenBatch(items: readonly WaitingItem[], { dropped, exports }: Pick<WrittenBatch, 'dropped' | 'exports'>): WrittenBatch {
  const events: WrittenEvent[] = []
  const counts: CounterIncrement[] = []
  let unwritable = 0
  for (const item of items) {
    if (item.kind === 'counted') {
      counts.push(...item.counts)
      continue
    }
    try {
      const written = rowOfEvent(item)
      counts.push(...countersOf(item))
      events.push(written)
    } catch {
      // It must not keep the others waiting.
      unwritable += 1
    }
  }
  return { events, counts, dropped, exports, unwritable }
}

function write(open: Open, self: EventProcess, { events, counts, dropped, exports }: WrittenBatch): void {
  const nowMs = Date.now()
  const { pid, role, startedMs = 0, title, host } = self
  const { id } = open.process.get(pid, role, startedMs, title, host, Number(exports), nowMs, dropped) ?? {}
  const stored = { kept: 0, bulk: 0 }
  for (const { keep, columns, stacks } of events) {
    open.event.run({ process: Number(id), ...columns })
    stored[keep] += 1
    for (const [stackId, text] of stacks) writeStack(open, { stackId, text, nowMs })
  }
  if (stored.kept > 0) open.stored.run(stored.kept, 'kept')
  if (stored.bulk > 0) open.stored.run(stored.bulk, 'bulk')
  for (const count of counts) open.counters.add(count)
  open.retention.apply(nowMs)
}

/** The newest text of a stack is stored: source maps are read after the first events of it. */
function writeStack(
  { stack, stacks }: Open,
  { stackId, text, nowMs }: { readonly stackId: string; readonly text: string; readonly nowMs: number },
): void {
  const key = `${stackId}\0${text.length}`
  const markedMs = stacks.get(key)
  if (markedMs !== undefined && nowMs - markedMs < MARK_STACK_MS) return
  if (stacks.size >= MOST_STACKS) stacks.clear()
  stacks.set(key, nowMs)
  stack.run(stackId, text, nowMs)
}

function statementsOf(database: DatabaseSync): Pick<Open, 'process' | 'event' | 'stored' | 'stack'> {
  return {
    process: database.prepare(
      `INSERT INTO process (pid, role, started_ms, title, host, exports, seen_ms, dropped) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET exports = excluded.exports, seen_ms = excluded.seen_ms, dropped = dropped + excluded.dropped RETURNING id`,
    ),
    event: database.prepare(
      `INSERT INTO event (${EVENT_COLUMNS.join(', ')}) VALUES (${EVENT_COLUMNS.map(column => `:${column}`).join(', ')})`,
    ),
    stored: database.prepare('UPDATE keep_class SET events = events + ? WHERE keep = ?'),
    stack: database.prepare(
      `INSERT INTO stack (stack_id, text, seen_ms) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET text = excluded.text, seen_ms = excluded.seen_ms`,
    ),
  }
}

function journalBytes(path: string): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
}
