import { type Stats, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { isGatewayError } from '../domain/gateway-error.ts'
import { unreadable } from '../store/store-failure.ts'
import { eventStoreFailure, isLasting, noFolder, nothingRecorded } from './event-failure.ts'
import { eventFile, openEventMemory, ownEventFile, readEventsUnmodified, requireOwnEventFile } from './event-file.ts'
import { EVENT_SCHEMA } from './event-schema.ts'

/**
 * Asks what all processes of a state folder have recorded. Creates, changes and locks nothing; writers go on meanwhile.
 *
 * @param query Gets the store, and may read it until it returns: a function of `queries/`, or one that uses an `EventReader`.
 * @throws {GatewayError} `GW_CONFIG` when nothing was ever recorded there, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`,
 *   `GW_STORE_UNREADABLE` (also when another user controls the folder or the file); and what `query` throws.
 */
export function readEvents<T>(folder: string, query: (database: DatabaseSync) => T): T {
  const found = isThere(folder)
  if (!found) throw nothingRecorded(folder, 'the folder does not exist')
  if (!found.isDirectory()) throw noFolder(folder)
  const path = eventFile(folder)
  if (!requireOwnEventFile(path)) throw nothingRecorded(folder, 'the folder holds no events.sqlite')
  try {
    return readEventFile(path, query)
  } catch (error) {
    // Beside the store of a later Gatewatch, processes of this version write one of their own.
    const own = ownEventFile(folder, EVENT_SCHEMA.version)
    if (isGatewayError(error, 'GW_STORE_NEWER') && requireOwnEventFile(own)) return readEventFile(own, query)
    throw error
  }
}

/**
 * As `readEvents`, from the file itself: one that was copied from another machine, under any name.
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, `GW_STORE_UNREADABLE`; and what `query` throws.
 */
export function readEventFile<T>(path: string, query: (database: DatabaseSync) => T): T {
  try {
    return readEventsUnmodified(path, query)
  } catch (cause) {
    if (!isSystemError(cause)) throw cause
    const failure = eventStoreFailure(path, cause)
    throw isLasting(failure) ? failure : unreadable(path, cause)
  }
}

/** As `readEvents`; a folder in which nothing was recorded yet answers like an empty store. */
export function queryEventStore<T>(folder: string, query: (database: DatabaseSync) => T): T {
  try {
    return readEvents(folder, query)
  } catch (error) {
    if (!isGatewayError(error, 'GW_CONFIG')) throw error
  }
  const empty = openEventMemory()
  try {
    return query(empty)
  } finally {
    empty.close()
  }
}

function isThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

function isSystemError(cause: unknown): boolean {
  return cause instanceof Error && (typeof (cause as { errcode?: unknown }).errcode === 'number' || 'syscall' in cause)
}
