/** Node 22 says once that SQLite is experimental; Gatewatch uses what has not changed since. */
const KNOWN = /^SQLite is an experimental feature/

/**
 * Leaves what Node 22 says of SQLite out of the warnings on stderr. For the command line alone, whose process is ours: in
 * a host the warnings are the host's.
 */
export function leaveOutKnownWarnings(): void {
  const listeners = process.listeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', warning => {
    if (warning.name === 'ExperimentalWarning' && KNOWN.test(warning.message)) return
    for (const listener of listeners) Reflect.apply(listener, process, [warning])
  })
}
