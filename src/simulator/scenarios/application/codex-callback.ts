import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** Answers an app-server that asks for fresh tokens, and that waits for so long and no longer. */
export async function answerCodex(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
