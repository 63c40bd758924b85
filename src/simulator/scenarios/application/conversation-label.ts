import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** Gives a conversation its title: a small call beside the agent's turns. */
export async function labelConversation(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
