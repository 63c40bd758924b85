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
export function sqliteFull(cause: unknown): Error {
  return Object.assign(new Error('database or disk is full', { cause }), { code: 'SQLITE_FULL' })
}
