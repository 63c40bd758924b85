/**
 * Lets a process end quietly when whoever read its output is gone (`gatewatch diagnose | head`): what is written from then on is
 * dropped, a command ends with its own exit code, and one that waits for a signal ends as if it had come. Without a listener
 * the error of the stream would end the process with a stack.
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
