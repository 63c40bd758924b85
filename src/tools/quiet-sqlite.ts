type Sqlite = typeof import('node:sqlite')

/**
 * `node:sqlite`, loaded on first use.
 *
 * Node 22 says once, as a warning of the process, that the module is experimental. Nothing of the process is exchanged to
 * keep it from that: a watched host never gets here outside of a thread of ours and of its exit, where no warning is
 * published any more, and the command line leaves the warning out by itself.
 */
export function quietSqlite(): Sqlite {
  return process.getBuiltinModule('node:sqlite')
}
