import { statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as wait } from 'node:timers/promises'
import { LONGEST_REST_MS } from '../domain/cooldown.ts'
import { LockDatabase } from './process-lock.ts'
import { type RestStore, readStoredRest, type StoredRest } from './profile-store.ts'
import { closed, occupied } from './store-failure.ts'

/** The file in a state folder. */
export const REST_DATABASE = 'rests.sqlite'

const CREATE = `CREATE TABLE IF NOT EXISTS revision (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO revision VALUES (1, 0);
CREATE TABLE IF NOT EXISTS rests (
  profile TEXT NOT NULL, cause TEXT NOT NULL, model TEXT NOT NULL, until INTEGER NOT NULL, rest TEXT NOT NULL,
  PRIMARY KEY (profile, cause, model)
) STRICT, WITHOUT ROWID`
const REVISION = 'SELECT number FROM revision'
const COUNT = 'UPDATE revision SET number = number + 1 RETURNING number'
const ALL = 'SELECT rest FROM rests'
const OF_PROFILE = 'SELECT rest FROM rests WHERE profile = ?'
const CLEAR = 'DELETE FROM rests WHERE profile = ? OR until < ?'
const WRITE = 'INSERT OR REPLACE INTO rests (profile, cause, model, until, rest) VALUES (?, ?, ?, ?, ?)'

/** Longest wait of a change for another process that is at the file, in ms, and the pause between two tries. */
const LONGEST_WAIT_MS = 2_000
const PAUSE_MS = 5
const ABSENT = 'absent'

/**
 * The rests of a state folder, one row each: which profile, why, for which model, until when.
 *
 * A look that finds the same revision reads nothing else; a folder in which nothing ever rested has no file.
 */
export class RestTable implements RestStore {
  readonly #path: string
  readonly #database: LockDatabase
  #isClosed = false

  constructor(path: string) {
    this.#path = path
    this.#database = new LockDatabase(path)
  }

  async changed(seen: string | undefined): Promise<{ readonly seen: string; readonly rests: readonly StoredRest[] } | undefined> {
    if (this.#isClosed) throw closed()
    const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false })
    if (!found) return seen === ABSENT ? undefined : { seen: ABSENT, rests: [] }
    return this.#inTransaction(connection => {
      const now = `${found.dev}-${found.ino}-${connection.prepare(REVISION).get()?.number}`
      return now === seen ? undefined : { seen: now, rests: read(connection.prepare(ALL).all()) }
    })
  }

  async change(profileId: string, update: (current: readonly StoredRest[]) => readonly StoredRest[]): Promise<readonly StoredRest[]> {
    const deadline = performance.now() + LONGEST_WAIT_MS
    for (;;) {
      if (this.#isClosed) throw closed()
      const stored = this.#inTransaction(connection => changeRows(connection, profileId, update))
      if (stored) return stored
      if (performance.now() >= deadline) throw occupied(this.#path, LONGEST_WAIT_MS)
      await wait(PAUSE_MS * (0.5 + Math.random()))
    }
  }

  close(): void {
    this.#isClosed = true
    this.#database.close()
  }

  /** @returns What `work` returned, or `undefined` when another process was in a transaction. */
  #inTransaction<T>(work: (connection: DatabaseSync) => T): T | undefined {
    return this.#database.inTransaction(connection => {
      connection.exec(CREATE)
      return work(connection)
    })
  }
}

function changeRows(
  connection: DatabaseSync,
  profileId: string,
  update: (current: readonly StoredRest[]) => readonly StoredRest[],
): readonly StoredRest[] {
  const current = read(connection.prepare(OF_PROFILE).all(profileId))
  const next = update(current)
  if (next === current) return current
  connection.prepare(CLEAR).run(profileId, Date.now() - LONGEST_REST_MS)
  const write = connection.prepare(WRITE)
  for (const rest of next) write.run(profileId, rest.cause, rest.model ?? '', Math.ceil(rest.until), JSON.stringify({ ...rest, profileId }))
  connection.prepare(COUNT).get()
  return next
}

function read(rows: readonly Record<string, unknown>[]): StoredRest[] {
  return rows.flatMap(({ rest }) => (typeof rest === 'string' ? (readStoredRest(rest) ?? []) : []))
}
