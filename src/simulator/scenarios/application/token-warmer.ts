import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** A timer that looks after the token, so that no turn has to wait for a refresh. */
export async function keepTokenWarm(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
