import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** One turn of an agent. */
export async function answerUser(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
