import { GatewayError } from '../domain/gateway-error.ts'
import { newer, sqliteFailure } from '../store/store-failure.ts'

/** Says what a failure of SQLite, or of the system, means for the file of an event store. */
export function eventStoreFailure(file: string, cause: unknown): GatewayError {
  if (cause instanceof GatewayError) return cause
  return sqliteFailure(file, cause, () => damagedEventStore(file, 'SQLite cannot read it', cause))
}

/** The error for a file that is cut, overwritten, or was never an event store. */
export function damagedEventStore(file: string, what: string, cause?: unknown): GatewayError {
  const message = `${file} is damaged, or is no event store: ${what}. It is left unchanged; move it away, and a new one is begun`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', cause })
}

/** The error for a file that a later Gatewatch wrote. */
export function newerEventStore(file: string, found: number, known: number): GatewayError {
  return newer(file, found, known)
}

/** What is reported where a later Gatewatch has migrated the store of the folder. @param own Where this process writes in its place. */
export function besideNewerStore(file: string, own: string): GatewayError {
  const message = `${file} was written by a later Gatewatch: this process writes its events to ${own}; upgrade this Gatewatch`
  return new GatewayError('GW_STORE_NEWER', message, { next: 'upgrade_gatewatch' })
}

/** The error for a store in memory whose thread ended: what it held is lost. */
export function lostMemory(): GatewayError {
  const message = 'the thread that held the events in memory ended, and they are lost; new events are stored again'
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'nothing' })
}

/** Says whether trying again cannot help: the file is not for us, and is left alone. */
export function isLasting(error: GatewayError): boolean {
  return error.code === 'GW_STORE_DAMAGED' || error.code === 'GW_STORE_NEWER'
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
