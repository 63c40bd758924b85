import { createCipheriv, createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import type { SourceLocation } from '../../src/importers/found-profile.ts'
import { type ImportOptions, importProfiles } from '../../src/importers/profile-import.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { afterwards } from '../support/clean-up.ts'

/** Files as the applications write them, with made-up tokens. */
export const SAMPLES = fileURLToPath(new URL('../fixtures/importers/', import.meta.url))
/** Before everything in the samples expires. */
export const NOW = Date.parse('2026-11-22T12:00:00Z')
export const SIDECAR_ID = '0123456789abcdef0123456789abcdef'

/** The home folder of a user of other applications. */
export class SourceFolder {
  readonly home: string
  #before = new Map<string, string>()

  constructor() {
    this.home = mkdtempSync(join(tmpdir(), 'gatewatch-source-'))
    afterwards(() => rmSync(this.home, { recursive: true, force: true }))
  }

  path(name: string): string {
    return join(this.home, name)
  }

  /** Puts a sample at a place. */
  put(sample: string, name: string): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    cpSync(join(SAMPLES, sample), path, { recursive: true })
    return path
  }

  write(name: string, content: unknown): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
    return path
  }

  /** A SQLite store of OpenClaw, as 2026.9 makes them. */
  database(name: string, tables: Readonly<Record<string, unknown>>): DatabaseSync {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    const database = new DatabaseSync(path)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0')
    for (const [table, document] of Object.entries(tables)) {
      const [key, json] = table === 'auth_profile_state' ? ['state_key', 'state_json'] : ['store_key', 'store_json']
      database.exec(`CREATE TABLE ${table} (${key} TEXT NOT NULL PRIMARY KEY, ${json} TEXT NOT NULL, updated_at INTEGER NOT NULL)`)
      database
        .prepare(`INSERT INTO ${table} VALUES ('primary', ?, 1)`)
        .run(typeof document === 'string' ? document : JSON.stringify(document))
    }
    return database
  }

  /** The encrypted file of a profile, as 2026.5.14 writes it. */
  sidecar(profileId: string, tokens: unknown, { seed = 'sample-seed', id = SIDECAR_ID, ...others }: Record<string, string> = {}): string {
    const iv = Buffer.alloc(12, 7)
    const cipher = createCipheriv('aes-256-gcm', createHash('sha256').update(`openclaw:auth-profile-oauth:${seed}`).digest(), iv)
    cipher.setAAD(Buffer.from(`${id}\0${profileId}\0openai-codex`))
    const ciphertext = Buffer.concat([cipher.update(JSON.stringify(tokens)), cipher.final()])
    const encrypted = {
      algorithm: 'aes-256-gcm',
      iv: iv.toString('base64url'),
      tag: cipher.getAuthTag().toString('base64url'),
      ciphertext: ciphertext.toString('base64url'),
      ...others,
    }
    const content = { version: 1, profileId, provider: 'openai-codex', encrypted }
    return this.write(`.openclaw/credentials/auth-profiles/${id}.json`, content)
  }

  /** Remembers everything that `changes` will compare with. */
  remember(): void {
    // Older than the content: where a read leaves its time, this is where it shows.
    for (const path of this.#files()) if (statSync(path).isFile()) utimesSync(path, new Date('2020-01-01'), new Date('2020-01-02'))
    this.#before = this.#state()
  }

  /** What changed since: files that came or went, bytes, modes and times. */
  changes(): string[] {
    const after = this.#state()
    return [...new Set([...this.#before.keys(), ...after.keys()])].filter(path => this.#before.get(path) !== after.get(path))
  }

  #files(): string[] {
    return ['', ...readdirSync(this.home, { recursive: true, encoding: 'utf8' })].map(name => join(this.home, name))
  }

  #state(): Map<string, string> {
    return new Map(
      this.#files().map(path => {
        const status = statSync(path, { bigint: true })
        const isFile = status.isFile()
        // A read can spare it where the system has O_NOATIME.
        const accessed = isFile && constants.O_NOATIME !== undefined ? status.atimeNs : ''
        const content = isFile ? createHash('sha256').update(readQuietly(path)).digest('hex') : ''
        return [path, `${accessed} ${status.mtimeNs} ${status.mode} ${content}`]
      }),
    )
  }
}

function readQuietly(path: string): Buffer {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOATIME ?? 0))
  try {
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** Imports from a home folder into a store in memory, with every built-in provider. */
export function imported(
  folder: SourceFolder,
  {
    environment = {},
    path,
    ...options
  }: Pick<ImportOptions, 'source'> & Partial<ImportOptions> & Partial<Pick<SourceLocation, 'environment' | 'path'>>,
) {
  const place = { home: folder.home, environment, ...(path !== undefined && { path }) }
  return importProfiles({ store: memoryStore(), registry: createRegistry(), now: NOW, takeOwnership: true, ...options, place })
}
