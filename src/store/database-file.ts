import { randomUUID } from 'node:crypto'
import { closeSync, constants, fsyncSync, linkSync, lstatSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { quietSqlite } from '../tools/quiet-sqlite.ts'
import { systemCode } from './store-failure.ts'

/** A folder cannot be flushed on every platform and file system; these codes mean so. */
const CANNOT_FLUSH_FOLDER = new Set(['EINVAL', 'EPERM', 'EISDIR', 'EACCES', 'ENOTSUP', 'EBADF'])

/** Has the entries of a folder written to the disk, where the file system can. @throws what the system throws. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } catch (cause) {
    if (!CANNOT_FLUSH_FOLDER.has(systemCode(cause))) throw cause
  } finally {
    await handle.close()
  }
}

/** Which file a path leads to right now; another value when it was replaced. `undefined` where there is none. */
export function fileIdentity(path: string): string | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}-${found.ino}`
}

/**
 * Puts a new SQLite database at `path`, mode 0600, in a folder of mode 0700. A file that is there already stays.
 *
 * It is built beside and linked into its place: no process ever sees half of it, so a file there that does not look like
 * one of ours is not one.
 *
 * @throws what the system or SQLite throws.
 */
export function createDatabaseFile(path: string, schema: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.new-${randomUUID()}`
  try {
    const descriptor = openSync(draft, 'wx', 0o600)
    try {
      build(draft, schema)
      // Once, here, instead of after each step of SQLite: what is linked into its place must survive a power failure.
      synchronize(descriptor)
    } finally {
      closeSync(descriptor)
    }
    linkSync(draft, path)
  } catch (cause) {
    if (systemCode(cause) !== 'EEXIST') throw cause
  } finally {
    for (const ending of ['', '-wal', '-shm', '-journal']) rmSync(`${draft}${ending}`, { force: true })
  }
}

function build(draft: string, schema: string): void {
  const { DatabaseSync } = quietSqlite()
  const database = new DatabaseSync(draft)
  try {
    database.exec(`PRAGMA synchronous = OFF; ${schema}`)
  } finally {
    database.close()
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
