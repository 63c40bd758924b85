import { constants, lstatSync, readdirSync, type Stats, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { GatewayError } from '../domain/gateway-error.ts'
import { systemCode } from './store-failure.ts'

/** Bits of a mode that let others write. */
const WRITABLE_BY_OTHERS = 0o022
const WRITABLE_BY_ALL = 0o002
/** What SQLite puts beside a database. */
const BESIDE_DATABASE = ['-wal', '-shm', '-journal'] as const
/** Files by which a folder is known to hold state already. */
const STATE_FILES = ['profiles.sqlite', 'profiles.json', 'events.sqlite', 'leases.sqlite', 'settings.json'] as const

/**
 * Returns where the state of a folder is stored.
 *
 * That is the folder itself; in a folder that every user can write to (a shared volume, such as the `emptyDir` of
 * Kubernetes with mode 0777) it is `gatewatch-<uid>` in it, which is made with mode 0700. A folder that holds state of this
 * user already is never left for another one: `requireOwnFolder` refuses it. Creates nothing, never throws.
 */
export function stateFolderAt(folder: string): string {
  const user = thisUser()
  if (user === undefined) return folder
  try {
    const found = statSync(folder)
    if (!found.isDirectory() || !(found.mode & WRITABLE_BY_ALL) || holdsStateOf(user, folder)) return folder
  } catch {
    return folder
  }
  return join(folder, `gatewatch-${user}`)
}

/**
 * Refuses a state folder that another user controls. One that does not exist is fine: it is made with mode 0700.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE`, `fix_permissions`, when the folder, or the symbolic link that leads to it, belongs to
 *   another user than the one that runs (root included), or when its group or every user can write to it.
 */
export function requireOwnFolder(folder: string): void {
  const user = thisUser()
  if (user === undefined) return
  const entry = lstatSync(folder, { throwIfNoEntry: false })
  if (!entry) return
  if (entry.isSymbolicLink() && entry.uid !== user && entry.uid !== 0) throw foreign(folder, entry.uid, user)
  const found = entry.isSymbolicLink() ? statSync(folder, { throwIfNoEntry: false }) : entry
  if (found?.isDirectory()) requireOwn(folder, found, user)
}

/**
 * Refuses a file of the state folder that another user could have put there or can change.
 *
 * Looks at the path alone: closing a descriptor of a database would drop the locks that this process holds on it (POSIX
 * record locks, sqlite.org/howtocorrupt.html section 2.2). What is found still holds when the file is opened, because
 * no other caller can write to the folder.
 *
 * @returns `undefined` when there is no such file.
 * @throws {GatewayError} `GW_STORE_UNREADABLE` for a symbolic link, a FIFO or anything else that is no regular file, for a file
 *   of another user, and for one that its group or every user can write to.
 */
function requireOwnFile(path: string): Stats | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found) requireOwnRegular(path, found)
  return found
}

/** As `requireOwnFolder` and `requireOwnFile`, for a database with the files that SQLite puts beside it. @returns `undefined` when there is none. */
export function requireOwnDatabase(path: string): Stats | undefined {
  requireOwnFolder(dirname(path))
  for (const ending of BESIDE_DATABASE) requireOwnFile(`${path}${ending}`)
  return requireOwnFile(path)
}

/** As `requireOwnFile`, for a file that is open: what is checked is what is read. */
function requireOwnRegular(path: string, found: Stats): void {
  requireRegular(path, found)
  const user = thisUser()
  if (user !== undefined) requireOwn(path, found, user)
}

/**
 * Reads a small file of the state folder. A symbolic link is not followed, a FIFO is not waited for.
 *
 * @throws {GatewayError} as `requireOwnFile`, and for a file of more than `mostBytes`; or the system's error. `ENOENT` is one.
 */
export function readOwnFile(path: string, mostBytes: number): Promise<string> {
  return readChecked(path, constants.O_NOFOLLOW, found => {
    requireOwnRegular(path, found)
    requireSize(path, found, mostBytes)
  })
}

/**
 * Reads a small file that the operator names. Symbolic links are followed (a Kubernetes ConfigMap is made of them), a FIFO is
 * not waited for.
 *
 * @throws {GatewayError} `GW_STORE_UNREADABLE` for anything but a regular file of at most `mostBytes`; or the system's error.
 */
export function readNamedFile(path: string, mostBytes: number): Promise<string> {
  return readChecked(path, 0, found => {
    requireRegular(path, found)
    requireSize(path, found, mostBytes)
  })
}

async function readChecked(path: string, flags: number, check: (found: Stats) => void): Promise<string> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | flags)
    try {
      check(await handle.stat())
      return await handle.readFile('utf8')
    } finally {
      await handle.close()
    }
  } catch (cause) {
    // ENXIO: a socket; ELOOP: a link where none is followed.
    if (systemCode(cause) === 'ENXIO' || (systemCode(cause) === 'ELOOP' && flags !== 0)) {
      const found = lstatSync(path, { throwIfNoEntry: false })
      if (found) requireRegular(path, found)
    }
    throw cause
  }
}

function requireRegular(path: string, found: Stats): void {
  if (!found.isFile()) throw refusedFile(path, `is ${kindOf(found)}, not a regular file: put a regular file there`)
}

function requireSize(path: string, { size }: Stats, mostBytes: number): void {
  if (size > mostBytes) throw refusedFile(path, `has ${size} bytes, more than the ${mostBytes} that are read: is it the right file?`)
}

function requireOwn(path: string, { uid, mode }: Stats, user: number): void {
  if (uid !== user) throw foreign(path, uid, user)
  if (mode & WRITABLE_BY_OTHERS) {
    const shown = (mode & 0o777).toString(8).padStart(4, '0')
    throw refusedFile(path, `can be changed by other users (mode ${shown}): take that away with "chmod go-w"`)
  }
}

function foreign(path: string, owner: number, user: number): GatewayError {
  return refusedFile(
    path,
    `belongs to user ${nameOf(owner)}, this process runs as user ${nameOf(user)}: run it as user ${nameOf(owner)}, or name a folder of its own`,
  )
}

function refusedFile(path: string, why: string): GatewayError {
  return new GatewayError('GW_STORE_UNREADABLE', `${path} ${why}`, { next: 'fix_permissions' })
}

function holdsStateOf(user: number, folder: string): boolean {
  const names = new Set(readdirSync(folder))
  return STATE_FILES.some(name => names.has(name) && lstatSync(join(folder, name), { throwIfNoEntry: false })?.uid === user)
}

function kindOf(found: Stats): string {
  if (found.isSymbolicLink()) return 'a symbolic link'
  if (found.isFIFO()) return 'a FIFO'
  if (found.isDirectory()) return 'a folder'
  if (found.isSocket()) return 'a socket'
  return 'a device'
}

function nameOf(user: number): string {
  return user === 0 ? 'root' : String(user)
}

/** `undefined` on Windows, where files have no such owner. */
function thisUser(): number | undefined {
  return process.geteuid?.()
}
