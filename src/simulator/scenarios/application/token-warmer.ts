import { text } from 'node:stream/consumers'
import type { ClientTask } from './client-task.ts'

/** A timer that looks after the token, so that no turn has to wait for a refresh. */
export async function keepTokenWarm(task: ClientTask): Promise<void> {
  if (task.kind === 'acquire') await task.watch.acquireToken(task.options)
  else await text((await task.watch.call(task.call)).body)
}
