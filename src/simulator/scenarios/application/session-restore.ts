import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** Takes up a session where it was left. */
export async function resumeSession(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
