/** The first Ctrl-C or SIGTERM gives up what is under way; a second one ends the process at once. */
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
