import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** One turn of an agent. */
export async function answerUser(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
