import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { GatewayError } from '../domain/gateway-error.ts'
import { createDatabaseFile } from '../store/database-file.ts'
import { requireOwnDatabase, stateFolderAt } from '../store/own-files.ts'
import { unreadable } from '../store/store-failure.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { damagedEventStore, eventStoreFailure, newerEventStore } from './event-failure.ts'
import { EVENT_APPLICATION_ID, EVENT_SCHEMA, type EventSchema } from './event-schema.ts'

/** Longest wait of a reader for a process that is just opening or closing the file, in ms. */
const READ_WAIT_MS = 2_000

/** Where the events of a state folder are stored. */
export function eventFile(folder: string): string {
  return join(stateFolderAt(folder), 'events.sqlite')
}

/** Where a process stores its events that does not know the format of `eventFile`, because a later Gatewatch has migrated it. */
export function ownEventFile(folder: string, version: number): string {
  return join(stateFolderAt(folder), `events-v${version}.sqlite`)
}

/**
 * Refuses a file of events that another user controls, or whose folder one controls.
 *
 * @returns Whether the file is there.
 * @throws {GatewayError} `GW_STORE_UNREADABLE`
 */
export function requireOwnEventFile(path: string): boolean {
  try {
    return requireOwnDatabase(path) !== undefined
  } catch (cause) {
    throw cause instanceof GatewayError ? cause : unreadable(path, cause)
  }
}

/**
 * Puts an empty event store at `path`, mode 0600, in a folder of mode 0700, unless another process was quicker.
 *
 * @throws {GatewayError} as `requireOwnDatabase`, and what a failure of the file means.
 */
export function createEventFile(path: string, { create }: EventSchema = EVENT_SCHEMA): void {
  try {
    requireOwnDatabase(path)
    // The order matters: the journal mode cannot change inside a transaction.
    createDatabaseFile(path, `PRAGMA journal_mode = WAL; BEGIN; ${create} COMMIT;`)
  } catch (cause) {
    throw eventStoreFailure(path, cause)
  }
}

/**
 * Opens an existing event store for writing, after a look at it that changes nothing, and migrates an older one under its lock.
 *
 * No descriptor of its own touches the file: closing one would drop the locks this very process holds on it (POSIX
 * record locks, sqlite.org/howtocorrupt.html section 2.2).
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, and as `requireOwnDatabase`; and what SQLite throws, when another process is
 *   at it.
 */
export function openEventFile(path: string, schema: EventSchema = EVENT_SCHEMA): DatabaseSync {
  requireOwnDatabase(path)
  readEventsUnmodified(path, () => undefined, { waitMs: 0, schema })
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(address(path, { mode: 'rw' }), { timeout: 0 })
  try {
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304')
    migrate(database, schema)
    requireOwnDatabase(path)
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

/** An event store in memory, empty. */
export function openEventMemory({ create }: EventSchema = EVENT_SCHEMA): DatabaseSync {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(':memory:')
  database.exec(create)
  return database
}

/** The format version of an open store. */
export function eventVersionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.user_version)
}

/** Under the write lock: of two newer processes the second one finds the work done. */
function migrate(database: DatabaseSync, { version, migrations }: EventSchema): void {
  if (eventVersionOf(database) >= version) return
  database.exec('BEGIN IMMEDIATE')
  try {
    for (let found = eventVersionOf(database); found < version; found += 1) {
      database.exec(migrations[found - 1] ?? '')
      database.exec(`PRAGMA user_version = ${found + 1}`)
    }
    database.exec('COMMIT')
  } catch (cause) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw cause
  }
}

export interface ReadingOptions {
  /** Longest time the process may stand still for a process that is just opening or closing the file. @default 2_000 */
  readonly waitMs?: number
  readonly schema?: EventSchema
}

/**
 * Reads an event store through `query` without changing, creating or keeping anything; writers go on meanwhile.
 *
 * A file that no process has open is complete without journals. SQLite would put its two journal files beside it even for
 * a reader, so SQLite is notified that the file does not change; if it did all the same, the query is asked once more.
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`; and what SQLite or `query` throws.
 */
export function readEventsUnmodified<T>(
  path: string,
  query: (database: DatabaseSync) => T,
  { waitMs = READ_WAIT_MS, schema = EVENT_SCHEMA }: ReadingOptions = {},
): T {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw damagedEventStore(path, 'it is not a file')
  const before = stateOf(path)
  if (before !== undefined) {
    try {
      const answer = readOnce(address(path, { immutable: '1' }), query, { path, waitMs: 0, schema })
      if (stateOf(path) === before) return answer
    } catch (error) {
      if (stateOf(path) === before) throw error
    }
  }
  return readOnce(address(path, {}), query, { path, waitMs, schema })
}

function readOnce<T>(
  url: URL,
  query: (database: DatabaseSync) => T,
  { path, waitMs, schema }: { readonly path: string; readonly waitMs: number; readonly schema: EventSchema },
): T {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(url, { readOnly: true, timeout: waitMs })
  try {
    const found = versionOfOurs(path, database, schema)
    for (const views of schema.readOlder.slice(found - 1)) database.exec(views)
    // One transaction: whatever the query asks, it asks of one state.
    database.exec('BEGIN')
    versionOfOurs(path, database, schema)
    return query(database)
  } finally {
    database.close()
  }
}

function versionOfOurs(path: string, database: DatabaseSync, { version }: EventSchema): number {
  const { application_id: application } = database.prepare('PRAGMA application_id').get() ?? {}
  if (application !== EVENT_APPLICATION_ID) throw damagedEventStore(path, 'it does not carry the mark of one')
  const found = eventVersionOf(database)
  if (found > version) throw newerEventStore(path, found, version)
  if (!(found >= 1)) throw damagedEventStore(path, `there never was a format version ${found}`)
  return found
}

/** The state of a file that no process has open; `undefined` when one has, or left a journal behind. */
function stateOf(path: string): string | undefined {
  if (statSync(`${path}-wal`, { throwIfNoEntry: false })) return undefined
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}-${found.ino}-${found.size}-${found.mtimeNs}`
}

function address(path: string, parameters: Readonly<Record<string, string>>): URL {
  const url = pathToFileURL(path)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url
}
