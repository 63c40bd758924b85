import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { systemCode } from '../store/store-failure.ts'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { damagedSource, unreadableSource } from './source-failure.ts'
import { copySourceUnmodified, signatureOf } from './source-file.ts'

/** The two JSON documents that a SQLite store of OpenClaw holds. */
export interface OpenClawDocuments {
  /** What `auth-profiles.json` was before. */
  readonly profiles: string | undefined
  /** What `auth-state.json` was before. */
  readonly state: string | undefined
}

/** Where the documents lie: in tables of their own (agent), or among others (shared store). */
const DOCUMENTS = {
  profiles: [
    { table: 'auth_profile_store', query: "SELECT store_json AS json FROM auth_profile_store ORDER BY store_key = 'primary' DESC LIMIT 1" },
    {
      table: 'config_machine_state',
      query: "SELECT value_json AS json FROM config_machine_state WHERE state_key = 'authProfiles.store'",
    },
  ],
  state: [
    { table: 'auth_profile_state', query: "SELECT state_json AS json FROM auth_profile_state ORDER BY state_key = 'primary' DESC LIMIT 1" },
    {
      table: 'config_machine_state',
      query: "SELECT value_json AS json FROM config_machine_state WHERE state_key = 'authProfiles.state'",
    },
  ],
} as const

/** The file and what SQLite writes beside it and has not moved into it yet. */
const PARTS = ['', '-wal', '-journal'] as const
const TRIES = 5

/**
 * Reads the SQLite store of an OpenClaw that may be running.
 *
 * Even a reader of SQLite locks the file and puts others beside it, so a copy is read: in a folder of mode 0700 that is
 * removed before this returns.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`; `GW_STORE_DAMAGED` when it is no database, or not one of OpenClaw's.
 */
export async function readOpenClawDatabase(path: string): Promise<OpenClawDocuments> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-import-')).catch(cause => {
    throw unreadableSource(tmpdir(), cause)
  })
  try {
    const copy = join(folder, 'copy.sqlite')
    await copyWhole(path, copy)
    return readCopy(path, copy)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Copies until nothing was written in between: parts of two moments do not fit together. */
async function copyWhole(path: string, copy: string): Promise<void> {
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const before = await stateOf(path)
    for (const part of PARTS) {
      await rm(copy + part, { force: true })
      if (await signatureOf(path + part)) await copyPart(path + part, copy + part)
    }
    if (before === (await stateOf(path))) return
  }
  throw damagedSource(path, 'is written all the time, so that no whole state of it could be read; stop OpenClaw and try again')
}

/** What SQLite writes beside a file may be gone a moment later; the next try sees it gone. */
async function copyPart(path: string, copy: string): Promise<void> {
  try {
    await copySourceUnmodified(path, copy)
  } catch (error) {
    if (await signatureOf(path)) throw error
  }
}

async function stateOf(path: string): Promise<string> {
  return (await Promise.all(PARTS.map(part => signatureOf(path + part)))).join(' ')
}

function readCopy(path: string, copy: string): OpenClawDocuments {
  const { DatabaseSync } = quietSqlite()
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(copy)
    const tables = new Set(
      database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .all()
        .map(({ name }) => name),
    )
    if (!Object.values(DOCUMENTS).some(places => places.some(({ table }) => tables.has(table))))
      throw damagedSource(path, 'has none of the tables in which OpenClaw keeps profiles (auth_profile_store, config_machine_state)')
    return { profiles: documentOf(path, database, tables, 'profiles'), state: documentOf(path, database, tables, 'state') }
  } catch (cause) {
    if (systemCode(cause).startsWith('GW_')) throw cause
    throw damagedSource(path, 'is no SQLite database, is damaged, or has tables of another form than OpenClaw 2026.9', cause)
  } finally {
    database?.close()
  }
}

function documentOf(
  path: string,
  database: DatabaseSync,
  tables: ReadonlySet<unknown>,
  document: keyof typeof DOCUMENTS,
): string | undefined {
  for (const { table, query } of DOCUMENTS[document]) {
    const row = tables.has(table) ? database.prepare(query).get() : undefined
    if (!row) continue
    if (typeof row.json === 'string') return row.json
    throw damagedSource(path, `table ${table}: a row is no text; allowed is JSON text`)
  }
  return undefined
}
