import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { GatewayError } from '../domain/gateway-error.ts'
import { createDatabaseFile } from '../store/database-file.ts'
import { requireOwnDatabase, stateFolderAt } from '../store/own-files.ts'
import { unreadable } from '../store/store-failure.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { damagedRecorder, newerRecorder, recorderFailure } from './recorder-failure.ts'
import { APPLICATION_ID, CREATE_SCHEMA, SCHEMA_VERSION } from './recorder-schema.ts'

export { fileIdentity } from '../store/database-file.ts'

const FILE_NAME = 'recorder.sqlite'
/** Longest wait of a reader for a process that is just opening or closing the file, in ms. */
const READ_WAIT_MS = 2_000

/** Where the recorder of a state folder is stored. */
export function recorderFile(folder: string): string {
  return join(stateFolderAt(folder), FILE_NAME)
}

/**
 * Refuses a recorder file that another user controls, or whose folder one controls.
 *
 * @returns Whether the file is there.
 * @throws {GatewayError} `GW_STORE_UNREADABLE`
 */
export function requireOwnRecorder(path: string): boolean {
  try {
    return requireOwnDatabase(path) !== undefined
  } catch (cause) {
    throw cause instanceof GatewayError ? cause : unreadable(path, cause)
  }
}

/**
 * Puts an empty recorder file at `path`, mode 0600, in a folder of mode 0700, unless another process was quicker.
 *
 * @throws {GatewayError} as `requireOwnDatabase`, and what a failure of the file means.
 */
export function createRecorderFile(path: string): void {
  try {
    requireOwnDatabase(path)
    createDatabaseFile(path, CREATE_SCHEMA)
  } catch (cause) {
    throw recorderFailure(path, cause)
  }
}

/**
 * Opens an existing recorder file for writing, after a look at it that changes nothing.
 *
 * No descriptor of its own touches the file: closing one would drop the locks this very process holds on it (POSIX
 * record locks, sqlite.org/howtocorrupt.html section 2.2).
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, and as `requireOwnDatabase`; and what SQLite throws, when another process is
 *   at it.
 */
export function openForWriting(path: string): DatabaseSync {
  requireOwnDatabase(path)
  readRecorderUnmodified(path, () => undefined, 0)
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(address(path, { mode: 'rw' }), { timeout: 0 })
  try {
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304')
    requireOwnDatabase(path)
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

/**
 * Reads a recorder file through `query` without changing, creating or keeping anything; writers go on meanwhile.
 *
 * A file that no process has open is complete without journals. SQLite would put its two journal files beside it even for
 * a reader, so it is notified that the file does not change; if it did all the same, the query is asked once more.
 *
 * @param waitMs Longest time the process may stand still for a process that is just opening or closing the file.
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`; and what SQLite or `query` throws.
 */
export function readRecorderUnmodified<T>(path: string, query: (database: DatabaseSync) => T, waitMs = READ_WAIT_MS): T {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw damagedRecorder(path, 'it is no file')
  const before = stateOf(path)
  if (before !== undefined) {
    try {
      const answer = readOnce(address(path, { immutable: '1' }), query, path, 0)
      if (stateOf(path) === before) return answer
    } catch (error) {
      if (stateOf(path) === before) throw error
    }
  }
  return readOnce(address(path, {}), query, path, waitMs)
}

function readOnce<T>(url: URL, query: (database: DatabaseSync) => T, path: string, waitMs: number): T {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(url, { readOnly: true, timeout: waitMs })
  try {
    // One transaction: whatever the query asks, it asks of one state.
    database.exec('BEGIN')
    requireOurs(path, database)
    return query(database)
  } finally {
    database.close()
  }
}

function requireOurs(path: string, database: DatabaseSync): void {
  const { application_id: application } = database.prepare('PRAGMA application_id').get() ?? {}
  const { user_version: version } = database.prepare('PRAGMA user_version').get() ?? {}
  if (application !== APPLICATION_ID) throw damagedRecorder(path, 'it does not carry the mark of one')
  if (Number(version) > SCHEMA_VERSION) throw newerRecorder(path, Number(version))
  if (version !== SCHEMA_VERSION) throw damagedRecorder(path, `there never was a format version ${version}`)
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
