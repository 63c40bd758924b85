import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** Answers an app-server that asks for fresh tokens, and that waits for so long and no longer. */
export async function answerCodex(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
