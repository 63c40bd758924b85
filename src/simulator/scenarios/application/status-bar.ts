import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** The status bar, which wants to be sure and asks for a fresh token. */
export async function showStatus(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
