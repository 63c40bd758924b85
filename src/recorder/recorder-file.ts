import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { systemCode } from '../store/store-failure.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { damagedRecorder, newerRecorder, recorderFailure } from './recorder-failure.ts'
import { APPLICATION_ID, CREATE_SCHEMA, SCHEMA_VERSION } from './recorder-schema.ts'

const FILE_NAME = 'recorder.sqlite'
/** Longest wait of a reader for somebody who is just opening or closing the file, in ms. */
const READ_WAIT_MS = 2_000

/** Where the recorder of a state folder lies. */
export function recorderFile(folder: string): string {
  return join(folder, FILE_NAME)
}

/** Which file lies at a path right now; changes when it is replaced. `undefined` where there is none. */
export function fileIdentity(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}-${found.ino}`
}

/**
 * Puts an empty recorder file at `path`, mode 0600, in a folder of mode 0700, unless somebody was quicker.
 *
 * It is built beside and linked into its place: nobody ever sees half of it, so whatever lies there and does not look
 * like a recorder file is not one.
 */
export function createRecorderFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.new-${randomUUID()}`
  try {
    const descriptor = openSync(draft, 'wx', 0o600)
    try {
      build(draft)
      // Once, here, instead of after each step of SQLite: what is linked into its place must survive a power cut.
      synchronize(descriptor)
    } finally {
      closeSync(descriptor)
    }
    linkSync(draft, path)
  } catch (cause) {
    if (systemCode(cause) !== 'EEXIST') throw recorderFailure(path, cause)
  } finally {
    for (const ending of ['', '-wal', '-shm', '-journal']) rmSync(`${draft}${ending}`, { force: true })
  }
}

/** Under `--permission` Node denies `fsync` whatever is allowed: the file is then as durable as the system makes it by itself. */
function synchronize(descriptor: number): void {
  try {
    fsyncSync(descriptor)
  } catch (cause) {
    if (systemCode(cause) !== 'ERR_ACCESS_DENIED') throw cause
  }
}

function build(draft: string): void {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(draft)
  try {
    database.exec(`PRAGMA synchronous = OFF; ${CREATE_SCHEMA}`)
  } finally {
    database.close()
  }
}

/**
 * Opens an existing recorder file for writing, after a look at it that changes nothing.
 *
 * No descriptor of its own touches the file: closing one would drop the locks this very process holds on it (POSIX
 * record locks, sqlite.org/howtocorrupt.html section 2.2).
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`; and what SQLite throws, when somebody else is at it.
 */
export function openForWriting(path: string): DatabaseSync {
  readUntouched(path, () => undefined, 0)
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(address(path, { mode: 'rw' }), { timeout: 0 })
  try {
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304')
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

/**
 * Reads a recorder file through `query` without changing, creating or keeping anything; writers go on meanwhile.
 *
 * A file that nobody has open lies there complete and alone. SQLite would put its two journal files beside it even for
 * a reader, so it is told that the file does not change; if it did all the same, the query is asked once more.
 *
 * @param waitMs Longest time the process may stand still for somebody who is just opening or closing the file.
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`; and what SQLite or `query` throws.
 */
export function readUntouched<T>(path: string, query: (database: DatabaseSync) => T, waitMs = READ_WAIT_MS): T {
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

/** How the file lies there while nobody has it open; `undefined` when somebody has, or left a journal behind. */
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
