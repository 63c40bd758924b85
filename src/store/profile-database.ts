import { chmodSync, constants, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import type { StoredProfile } from '../domain/credential.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { parseJsonObject } from '../tools/json-object.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { createDatabaseFile, fileIdentity, flushFolder } from './database-file.ts'
import { requireOwnDatabase } from './own-files.ts'
import { acceptProfile, freeze, wrongPlace } from './profile-store.ts'
import {
  damaged,
  damagedRow,
  newer,
  notFlushed,
  SQLITE_RESULT,
  sqliteFailure,
  sqliteResult,
  unreadable,
  unwritable,
} from './store-failure.ts'

/** Steps of a change that a test may stop at: written and not yet committed; committed and not yet flushed. */
export type ChangeStep = 'written' | 'committed'

/** How far the store has come. */
export interface StoreRevision {
  /** Changes when the file was opened again: nothing that was known before holds. */
  readonly connection: number
  /** Counts changes. */
  readonly revision: number
  /** Counts removals of profiles. */
  readonly removals: number
}

/** One stored profile. */
export interface ProfileRow {
  readonly id: string
  /** The revision of the store at which the profile was written. */
  readonly revision: number
  /** @throws {GatewayError} `GW_STORE_DAMAGED` when the row holds no profile. */
  profile(): StoredProfile
}

/** What a change did. */
export interface Changed {
  readonly profile: StoredProfile | undefined
  /** The revision of the store that the change made; `undefined` when nothing was written. */
  readonly revision: number | undefined
}

/** The file in a state folder. */
const PROFILE_DATABASE = 'profiles.sqlite'
/** Marks the file in `application_id`: "GWPF". */
const APPLICATION_ID = 0x47_57_50_46
const SCHEMA_VERSION = 1
/** A journal that one burst made long is cut to this length, in bytes. */
const JOURNAL_BYTES = 4 * 1024 * 1024
/** Results of SQLite for a database in WAL mode whose folder cannot be written. */
const CANNOT_WRITE: ReadonlySet<number | undefined> = new Set([SQLITE_RESULT.CANTOPEN, SQLITE_RESULT.READONLY])
/**
 * `number` keeps the order in which profiles came. `revision` of a row is the store's at which it was written, so that a
 * reader asks for what changed since it last looked. `imported` holds digests of files whose profiles were taken over.
 */
const SCHEMA = `
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE store (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL, removals INTEGER NOT NULL) STRICT;
INSERT INTO store VALUES (1, 0, 0);
CREATE TABLE profiles (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL, profile TEXT NOT NULL) STRICT;
CREATE INDEX profiles_revision ON profiles (revision);
CREATE TABLE imported (digest TEXT PRIMARY KEY) STRICT;
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};
COMMIT;`

const SELECT = 'SELECT number, id, revision, profile FROM profiles'
const QUERIES = {
  version: 'PRAGMA user_version',
  store: 'SELECT revision, removals FROM store',
  find: `${SELECT} WHERE id = ?`,
  after: `${SELECT} WHERE revision > ? ORDER BY number`,
  ids: 'SELECT id FROM profiles',
  count: 'UPDATE store SET revision = revision + 1, removals = removals + ? RETURNING revision',
  write: `INSERT INTO profiles (id, revision, profile) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, profile = excluded.profile`,
  insert: 'INSERT OR IGNORE INTO profiles (id, revision, profile) VALUES (?, ?, ?)',
  remove: 'DELETE FROM profiles WHERE id = ?',
  isImported: 'SELECT 1 FROM imported WHERE digest = ?',
  import: 'INSERT INTO imported (digest) VALUES (?)',
} as const

interface Open {
  readonly database: DatabaseSync
  readonly identity: string
  readonly statements: Readonly<Record<keyof typeof QUERIES, StatementSync>>
  /** The folder cannot be written: the file is read without locks. */
  readonly isReadOnly: boolean
}

/**
 * The profiles of a state folder, one row each, in `profiles.sqlite`.
 *
 * A change reads and writes one row, whatever their number. Every method is one short transaction on this thread that waits
 * for nothing: SQLite runs with `synchronous = NORMAL` in WAL mode, which appends to the journal and leaves the disk alone.
 * What makes a change durable is `flush`, which has the journal written to the disk off this thread, once for all changes that
 * were committed before (what `synchronous = FULL` does inside each commit). A change is not done before it is flushed.
 *
 * A process that is killed inside a transaction leaves the former state. WAL needs shared memory: the processes of one folder run
 * on one machine (sqlite.org/wal.html, section 1).
 *
 * The methods throw what SQLite and the system throw; `failure` says what that means for the store.
 */
export class ProfileDatabase {
  readonly path: string
  readonly #onStep: (step: ChangeStep) => void
  readonly #flushes = new GroupedFlush(() => this.#flushNow())
  #open: Open | undefined
  #connection = 0
  #commits = 0
  #flushedCommits = 0
  /** The journal whose entry in the folder is on the disk. */
  #flushedJournal: string | undefined

  constructor(folder: string, onStep: (step: ChangeStep) => void) {
    this.path = join(folder, PROFILE_DATABASE)
    this.#onStep = onStep
  }

  /** How far the store has come; `undefined` when there is none yet. */
  revision(): StoreRevision | undefined {
    const open = this.#connect(false)
    if (!open) return undefined
    requireVersion(this.path, open.statements.version)
    const { revision, removals } = open.statements.store.get() ?? {}
    return { connection: this.#connection, revision: Number(revision), removals: Number(removals) }
  }

  find(id: string): ProfileRow | undefined {
    return this.#row(this.#connect(false)?.statements.find.get(id))
  }

  /**
   * As `find`, after every change that is under way: a process that was stopped inside one may hold the only copy of a rotated
   * token. In a folder that cannot be written no change is under way.
   */
  findSettled(id: string): ProfileRow | undefined {
    const open = this.#connect(false)
    if (!open || open.isReadOnly) return this.find(id)
    return this.#exclusively(open, () => this.#row(open.statements.find.get(id)))
  }

  /** Profiles that were written after that revision of the store, in the order in which they came. */
  changedAfter(revision: number): ProfileRow[] {
    const rows = this.#connect(false)?.statements.after.all(revision) ?? []
    return rows.flatMap(row => this.#row(row) ?? [])
  }

  ids(): ReadonlySet<string> {
    return new Set(
      this.#connect(false)
        ?.statements.ids.all()
        .map(({ id }) => String(id)),
    )
  }

  /**
   * Changes one profile, alone among all processes. The change is visible at once and durable after `flush`.
   *
   * @throws {GatewayError} `GW_STORE_DAMAGED` when the row holds no profile; what `update` throws; and what SQLite throws. Nothing
   *   is changed then.
   */
  change(id: string, update: (current: StoredProfile | undefined) => StoredProfile | undefined): Changed {
    const { statements, ...open } = this.#forWriting()
    return this.#exclusively({ statements, ...open }, commit => {
      const before = this.#row(statements.find.get(id))?.profile()
      const wanted = update(before)
      if (wanted === before) return { profile: before, revision: undefined }
      const after = wanted && acceptProfile(id, wanted)
      const revision = Number(statements.count.get(after ? 0 : 1)?.revision)
      if (after) statements.write.run(id, revision, JSON.stringify(after))
      else statements.remove.run(id)
      this.#step('written')
      commit()
      this.#step('committed')
      return { profile: after, revision }
    })
  }

  /**
   * Takes profiles over from another file, all or none. A profile that is stored already stays unchanged.
   *
   * @param digest Of the file: what was taken over once is not taken over again, so that a profile removed since stays removed.
   */
  takeOver(profiles: Iterable<StoredProfile>, digest: string): void {
    const { statements, ...open } = this.#forWriting()
    this.#exclusively({ statements, ...open }, commit => {
      if (statements.isImported.get(digest)) return
      const revision = Number(statements.count.get(0)?.revision)
      for (const profile of profiles) statements.insert.run(profile.id, revision, JSON.stringify(profile))
      statements.import.run(digest)
      commit()
    })
  }

  /**
   * Resolves when everything that was committed before is on the disk. Costs nothing when it is already.
   *
   * @throws {GatewayError} `GW_STORE_UNWRITABLE`: the changes are there, and may not survive a power failure. Flushed again next time.
   */
  async flush(): Promise<void> {
    if (this.#flushedCommits < this.#commits) await this.#flushes.run()
  }

  /** Reports what a failure of a method means for the store; an error that is no failure of the file comes back. */
  failure(cause: unknown): unknown {
    if (cause instanceof GatewayError) return cause
    if (sqliteResult(cause) === undefined) return isSystemError(cause) ? unreadable(this.path, cause) : cause
    return sqliteFailure(this.path, cause, () => damaged(this.path, 'SQLite cannot read it'))
  }

  close(): void {
    this.#open?.database.close()
    this.#open = undefined
  }

  /** Runs `work` in a transaction that it ends with `commit`; without that nothing is kept. */
  #exclusively<T>({ database, statements }: Open, work: (commit: () => void) => T): T {
    database.exec('BEGIN IMMEDIATE')
    try {
      requireVersion(this.path, statements.version)
      return work(() => {
        database.exec('COMMIT')
        this.#commits += 1
      })
    } finally {
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK')
    }
  }

  #step(step: ChangeStep): void {
    try {
      this.#onStep(step)
    } catch (cause) {
      throw unwritable(this.path, cause)
    }
  }

  #row(row: Record<string, SQLOutputValue> | undefined): ProfileRow | undefined {
    if (!row) return undefined
    return profileRow(this.path, row)
  }

  #forWriting(): Open {
    const open = this.#connectOrCreate()
    if (!open || open.isReadOnly) throw unwritable(this.path, Object.assign(new Error('its folder cannot be written'), { code: 'EROFS' }))
    return open
  }

  #connectOrCreate(): Open | undefined {
    try {
      return this.#connect(true)
    } catch (cause) {
      throw isSystemError(cause) ? unwritable(this.path, cause) : cause
    }
  }

  #connect(create: boolean): Open | undefined {
    const identity = fileIdentity(this.path)
    // A file that was replaced, or removed with its folder, is another store.
    if (this.#open && this.#open.identity === identity && !this.#open.isReadOnly) return this.#open
    this.close()
    if (identity === undefined) {
      requireOwnDatabase(this.path)
      if (!create) return undefined
      this.#create()
    }
    const found = requireOwnDatabase(this.path)
    if (!found) return create ? this.#connect(create) : undefined
    // SQLite gives the files beside it the mode of the file itself.
    if (process.platform !== 'win32' && found.mode & 0o077) chmodSync(this.path, 0o600)
    const opened = openDatabase(this.path)
    this.#connection += 1
    requireOwnDatabase(this.path)
    this.#open = { ...opened, identity: fileIdentity(this.path) ?? '', statements: statementsOf(opened.database) }
    return this.#open
  }

  #create(): void {
    try {
      createDatabaseFile(this.path, SCHEMA)
    } catch (cause) {
      throw sqliteResult(cause) === undefined ? unwritable(this.path, cause) : this.failure(cause)
    }
  }

  async #flushNow(): Promise<void> {
    const commits = this.#commits
    const journal = `${this.path}-wal`
    try {
      // Never the database itself: closing a descriptor of it would drop the locks of this process on it.
      const handle = await open(journal, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0))
      try {
        await handle.sync()
        const { dev, ino } = await handle.stat({ bigint: true })
        const identity = `${dev}-${ino}`
        if (identity !== this.#flushedJournal) await flushFolder(dirname(this.path))
        this.#flushedJournal = identity
      } finally {
        await handle.close()
      }
    } catch (cause) {
      throw notFlushed(this.path, cause)
    }
    this.#flushedCommits = Math.max(this.#flushedCommits, commits)
  }
}

function isSystemError(cause: unknown): boolean {
  return cause instanceof Error && 'syscall' in cause
}

/** Runs a flush for all callers that ask while another one is under way: once, after that one. */
class GroupedFlush {
  readonly #flush: () => Promise<void>
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(flush: () => Promise<void>) {
    this.#flush = flush
  }

  run(): Promise<void> {
    this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<void> {
    this.#next = undefined
    this.#running = this.#flush()
    return this.#running
  }
}

function openDatabase(path: string): Pick<Open, 'database' | 'isReadOnly'> {
  try {
    return { database: connect(path, path), isReadOnly: false }
  } catch (cause) {
    if (!CANNOT_WRITE.has(sqliteResult(cause)) || statSync(`${path}-wal`, { throwIfNoEntry: false })) throw cause
  }
  // In WAL mode SQLite puts files beside the database even for a reader; where it cannot, the database does not change either.
  const unchanging = pathToFileURL(path)
  unchanging.searchParams.set('immutable', '1')
  return { database: connect(path, unchanging), isReadOnly: true }
}

function connect(path: string, address: string | URL): DatabaseSync {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(address, { timeout: 0, readOnly: typeof address !== 'string' })
  try {
    // What is overwritten or deleted is gone: tokens do not stay behind in free pages.
    database.exec(`PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = ${JOURNAL_BYTES}`)
    requireOurs(path, database)
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

function requireOurs(path: string, database: DatabaseSync): void {
  const { application_id: application } = database.prepare('PRAGMA application_id').get() ?? {}
  if (application !== APPLICATION_ID) throw damaged(path, 'it is no profile database of Gatewatch')
  requireVersion(path, database.prepare(QUERIES.version))
}

/** Looked at in each transaction: a later Gatewatch may convert the file while this one has it open. */
function requireVersion(path: string, statement: StatementSync): void {
  const { user_version: version } = statement.get() ?? {}
  if (Number(version) > SCHEMA_VERSION) throw newer(path, Number(version), SCHEMA_VERSION)
  if (version !== SCHEMA_VERSION) throw damaged(path, `there never was a format version ${version}`)
}

function statementsOf(database: DatabaseSync): Open['statements'] {
  const prepared = Object.entries(QUERIES).map(([name, query]) => [name, database.prepare(query)] as const)
  return Object.fromEntries(prepared) as unknown as Open['statements']
}

/** Parsed when it is asked for, once. The text does not stay beside what was parsed. */
function profileRow(path: string, row: Record<string, SQLOutputValue>): ProfileRow {
  let unread: Record<string, SQLOutputValue> | undefined = row
  let read: StoredProfile | undefined
  return {
    id: String(row.id),
    revision: Number(row.revision),
    profile() {
      if (unread) read = readProfile(path, unread)
      unread = undefined
      return read as StoredProfile
    },
  }
}

function readProfile(path: string, { number, id, profile }: Record<string, SQLOutputValue>): StoredProfile {
  const parsed = parseJsonObject(String(profile))
  const place = parsed ? wrongPlace(String(id), parsed) : 'the profile itself'
  // By its number, not its id: ids carry e-mail addresses.
  if (place) throw damagedRow(path, Number(number), place)
  return freeze(parsed as unknown as StoredProfile)
}
