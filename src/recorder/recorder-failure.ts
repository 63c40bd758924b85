import { GatewayError } from '../domain/gateway-error.ts'
import { newer, unreadable, unwritable } from '../store/store-failure.ts'
import { SCHEMA_VERSION } from './recorder-schema.ts'

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const SQLITE = { ERROR: 1, BUSY: 5, LOCKED: 6, CORRUPT: 11, FULL: 13, CANTOPEN: 14, PROTOCOL: 15, NOTADB: 26 } as const
const PASSING: ReadonlySet<number | undefined> = new Set([SQLITE.BUSY, SQLITE.LOCKED, SQLITE.PROTOCOL])

/** Says whether somebody else is at the database just now; a moment later it may go. */
export function isBusy(cause: unknown): boolean {
  return PASSING.has(resultCode(cause))
}

/** Says whether trying again cannot help: the file is not for us, and is left alone. */
export function isLasting(error: GatewayError): boolean {
  return error.code === 'GW_STORE_DAMAGED' || error.code === 'GW_STORE_NEWER'
}

/** Says what a failure of SQLite, or of the system, means for the recorder's file. */
export function recorderFailure(file: string, cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause
  switch (resultCode(cause)) {
    case SQLITE.ERROR: // tables that are not ours
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
      return damagedRecorder(file, 'SQLite cannot read it', cause)
    case SQLITE.FULL:
      return unwritable(file, Object.assign(new Error('database or disk is full', { cause }), { code: 'SQLITE_FULL' }))
    case SQLITE.CANTOPEN:
      return unreadable(file, cause)
    default:
      return unwritable(file, cause)
  }
}

/** The error for a file that is cut, overwritten, or was never the recorder's. */
export function damagedRecorder(file: string, what: string, cause?: unknown): GatewayError {
  const message = `${file} is damaged, or is no recorder file: ${what}. It is left as it is; move it away, and a new one is begun`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', cause })
}

/** The error for a file that a later Gatewatch wrote. */
export function newerRecorder(file: string, found: number): GatewayError {
  return newer(file, found, SCHEMA_VERSION)
}

/** The error for a folder in which nothing was recorded. */
export function nothingRecorded(folder: string, why: string): GatewayError {
  const message = `${folder} ${why}: name the state folder that the watched processes were started with`
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}

/** The error for a journal that cannot be emptied. */
export function pinnedJournal(file: string, bytes: number): GatewayError {
  const message = `${file} has a journal of ${bytes} bytes that somebody who keeps reading holds open; nothing is added; end that reader`
  return new GatewayError('GW_STORE_UNWRITABLE', message, { next: 'try_again_later' })
}

/** The primary result code: the lowest byte of the extended one. */
function resultCode(cause: unknown): number | undefined {
  const code = cause instanceof Error ? (cause as { errcode?: unknown }).errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}
