import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** The status bar, which wants to be sure and asks for a fresh token. */
export async function showStatus(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
