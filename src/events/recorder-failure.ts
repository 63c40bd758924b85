import { GatewayError } from '../domain/gateway-error.ts'
import { newer, sqliteFailure } from '../store/store-failure.ts'
import { SCHEMA_VERSION } from './recorder-schema.ts'

export { isSqliteBusy as isBusy } from '../store/store-failure.ts'

/** Says whether trying again cannot help: the file is not for us, and is left alone. */
export function isLasting(error: GatewayError): boolean {
  return error.code === 'GW_STORE_DAMAGED' || error.code === 'GW_STORE_NEWER'
}

/** Says what a failure of SQLite, or of the system, means for the recorder's file. */
export function recorderFailure(file: string, cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause
  return sqliteFailure(file, cause, () => damagedRecorder(file, 'SQLite cannot read it', cause))
}

/** The error for a file that is cut, overwritten, or was never the recorder's. */
export function damagedRecorder(file: string, what: string, cause?: unknown): GatewayError {
  const message = `${file} is damaged, or is no recorder file: ${what}. It is left unchanged; move it away, and a new one is begun`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', cause })
}

/** The error for a file that a later Gatewatch wrote. */
export function newerRecorder(file: string, found: number): GatewayError {
  return newer(file, found, SCHEMA_VERSION)
}

/** The error for a folder in which nothing was recorded. @param sign By what that is seen. */
export function nothingRecorded(folder: string, sign: string): GatewayError {
  const message = `nothing has been recorded in ${folder} yet (${sign}): name the state folder that the gateway or the watched processes were started with, or ask again once they run`
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}

/** The error for a state folder that is a file. */
export function noFolder(path: string): GatewayError {
  const message = `${path} is no folder: name the state folder that the gateway or the watched processes were started with`
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}

/** The error for a journal that cannot be emptied. */
export function pinnedJournal(file: string, bytes: number): GatewayError {
  const message = `${file} has a journal of ${bytes} bytes, held open by a process that reads it all the time; nothing is added; end that process`
  return new GatewayError('GW_STORE_UNWRITABLE', message, { next: 'try_again_later' })
}
