import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** Takes up a session where it was left. */
export async function resumeSession(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
