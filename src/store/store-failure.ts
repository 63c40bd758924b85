import { durationOf } from '../domain/duration-text.ts'
import { GatewayError, type NextStep } from '../domain/gateway-error.ts'

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
export const SQLITE_RESULT = {
  ERROR: 1,
  PERM: 3,
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  PROTOCOL: 15,
  NOTADB: 26,
} as const

/** The primary result code of an error of `node:sqlite`: the lowest byte of the extended one. `undefined` for any other error. */
export function sqliteResult(cause: unknown): number | undefined {
  const code = cause instanceof Error ? (cause as { errcode?: unknown }).errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** Says whether another connection is in the way; a moment later it may be gone. */
export function isSqliteBusy(cause: unknown): boolean {
  const result = sqliteResult(cause)
  return result === SQLITE_RESULT.BUSY || result === SQLITE_RESULT.LOCKED || result === SQLITE_RESULT.PROTOCOL
}

/** SQLite's "full", as an error that carries a code like those of the system. */
function sqliteFull(cause: unknown): Error {
  return Object.assign(new Error('database or disk is full', { cause }), { code: 'SQLITE_FULL' })
}

/** System errors that mean "no room", with SQLite's own word for it. */
const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'SQLITE_FULL'])
/** System errors that may be gone a moment later. */
const MAY_PASS = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'EBUSY', 'EIO', 'ENOMEM'])

/** The error for a store file that cannot be opened or read. */
export function unreadable(file: string, cause: unknown): GatewayError {
  const next = MAY_PASS.has(systemCode(cause)) ? 'try_again_later' : 'fix_permissions'
  return new GatewayError('GW_STORE_UNREADABLE', `cannot read ${file}${why(cause)}; ${ADVICE[next]}`, { next, cause })
}

/** The error for a store file that cannot be written: what it held before is still there. */
export function unwritable(file: string, cause: unknown): GatewayError {
  const code = systemCode(cause)
  const next = NO_ROOM.has(code) ? 'free_disk_space' : MAY_PASS.has(code) ? 'try_again_later' : 'fix_permissions'
  return new GatewayError('GW_STORE_UNWRITABLE', `cannot write ${file}${why(cause)}; nothing was changed; ${ADVICE[next]}`, { next, cause })
}

/** The error for a change that is stored and may not be on the disk yet. */
export function notFlushed(file: string, cause: unknown): GatewayError {
  const message = `${file} was changed, but the change may not survive a power failure${why(cause)}; check the disk`
  return new GatewayError('GW_STORE_UNWRITABLE', message, { next: 'try_again_later', cause })
}

/** The error for a store that another process, alive, keeps for itself for too long. */
export function occupied(file: string, waitedMs: number): GatewayError {
  const message = `another process has been changing the profiles for more than ${durationOf(waitedMs)} (lock: ${file}); nothing was changed; end that process if it hangs, or try again`
  return new GatewayError('GW_STORE_UNWRITABLE', message, { next: 'try_again_later' })
}

/**
 * The error for a profile file that is not ours or is cut off.
 *
 * Takes no `cause` on purpose: the messages of JSON and schema parsers quote the text they stumbled over, and that
 * text is tokens.
 */
export function damaged(file: string, what: string): GatewayError {
  const message = `${file} is damaged: ${what}. It is left unchanged; restore it from a backup, or move it away and sign in again`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store' })
}

/**
 * The error for one row that holds no profile; the other rows serve.
 *
 * @param place What is wrong in it, as `wrongPlace` names it.
 */
export function damagedRow(file: string, number: number, place: string): GatewayError {
  const message = `${file} is damaged: in profile ${number}, "${place}" is missing or of the wrong type. It is left unchanged, and the other profiles serve; restore the file from a backup, or sign in under another name`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store' })
}

/** The error for a lock database that is not one. Removing it under a live holder would let two processes in at once. */
export function damagedLock(file: string, cause: unknown): GatewayError {
  const message = `${file} is damaged. It holds locks only, no tokens: stop every process that uses this folder, remove the file, start again`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', cause })
}

/** The error for a database that SQLite cannot use. @param damagedFile Makes the error for a file that is no database of ours. */
export function sqliteFailure(file: string, cause: unknown, damagedFile: () => GatewayError): GatewayError {
  switch (sqliteResult(cause)) {
    case SQLITE_RESULT.ERROR: // tables that are not ours
    case SQLITE_RESULT.CORRUPT:
    case SQLITE_RESULT.NOTADB:
      return damagedFile()
    case SQLITE_RESULT.FULL:
      return unwritable(file, sqliteFull(cause))
    case SQLITE_RESULT.CANTOPEN:
      return unreadable(file, cause)
    default:
      return unwritable(file, cause)
  }
}

/** The error for a file that a later Gatewatch wrote. */
export function newer(file: string, found: number, known: number): GatewayError {
  const message = `${file} has format version ${found}, this Gatewatch knows version ${known}; it is left unchanged; run the later Gatewatch that wrote it, or upgrade this one`
  return new GatewayError('GW_STORE_NEWER', message, { next: 'upgrade_gatewatch' })
}

/** The error for a store that is used after `close`. */
export function closed(): GatewayError {
  return new GatewayError('GW_CLOSED', 'the profile store is closed; open another one', { next: 'nothing' })
}

/** The system's word for what went wrong (`ENOSPC`), or an empty string. */
export function systemCode(cause: unknown): string {
  const code = cause instanceof Error ? (cause as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : ''
}

const ADVICE = {
  free_disk_space: 'free disk space and try again',
  fix_permissions: 'give this user the right to read and write it, and its folder, and try again',
  try_again_later: 'try again later',
} as const satisfies Partial<Record<NextStep, string>>

function why(cause: unknown): string {
  const code = systemCode(cause)
  return code ? ` (${code})` : ''
}
