import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** A timer that asks the provider how much of the quota is used. */
export async function pollUsage(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
