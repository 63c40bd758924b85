/**
 * Waits until the process is asked to end (Ctrl-C, SIGTERM) or `seconds` have passed. A second signal ends it at once.
 */
export function waitForSignal(seconds?: number): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        process.removeListener(signal, end)
        process.once(signal, () => process.exit(130))
      }
      resolve()
    }
    // Nothing else may hold the process: an unset limit is a very long one.
    const timer = setTimeout(end, seconds === undefined ? 2 ** 31 - 1 : seconds * 1000)
    process.once('SIGINT', end)
    process.once('SIGTERM', end)
  })
}

/** The first Ctrl-C or SIGTERM aborts the work; a second one ends the process at once. */
export function untilInterrupted(): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController()
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const onSignal = () => {
    stop()
    controller.abort()
  }
  const stop = () => {
    for (const name of signals) process.off(name, onSignal)
  }
  for (const name of signals) process.once(name, onSignal)
  return { signal: controller.signal, stop }
}
