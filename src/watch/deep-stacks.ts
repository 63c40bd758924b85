import { clearTimeout, setTimeout } from 'node:timers'
import { AsyncHooksTracer } from '../callers/async-hooks-tracer.ts'
import type { WatchSettings } from './watch-settings.ts'

/**
 * Starts deep-stack mode, where the settings ask for it, and ends it when its time is over. Both are said: it costs.
 *
 * @param report Takes a line; children stay silent, the process they belong to has said it.
 * @returns Ends it at once, without a word.
 */
export function traceDeepStacks(
  { deepStacksUntilMs = 0, role }: Pick<WatchSettings, 'deepStacksUntilMs' | 'role'>,
  report: (line: string) => void,
): () => void {
  const leftMs = deepStacksUntilMs - Date.now()
  if (leftMs <= 0) return () => undefined
  const say = (line: string) => {
    if (role !== 'child') report(line)
  }
  const asyncHooksTracer = new AsyncHooksTracer()
  asyncHooksTracer.start()
  say(
    `deep-stack mode until ${new Date(deepStacksUntilMs).toISOString()}: every asynchronous step is noted, this process is several times slower`,
  )
  const timer = setTimeout(() => {
    asyncHooksTracer.stop()
    say('deep-stack mode has ended')
  }, leftMs).unref()
  return () => {
    clearTimeout(timer)
    asyncHooksTracer.stop()
  }
}
