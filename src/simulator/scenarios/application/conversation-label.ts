import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** Gives a conversation its title: a small call beside the agent's turns. */
export async function labelConversation(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
