/**
 * Lets a process end quietly when the reader of its output has closed (`gatewatch diagnose | head`): later output is dropped, a command
 * ends with its own exit code, and a command that waits for a signal ends as after SIGTERM. Without a listener the error of the
 * stream would end the process with a stack.
 */
export function outliveClosedOutput(): void {
  let isAskedToEnd = false
  process.stdout.on('error', error => {
    requireClosed(error)
    if (!isAskedToEnd) process.emit('SIGTERM')
    isAskedToEnd = true
  })
  // Messages alone are lost: no reason to end a gateway.
  process.stderr.on('error', requireClosed)
}

/** @throws every error but that of a pipe without a reader. */
function requireClosed(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

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
