import { text } from 'node:stream/consumers'
import type { Errand } from './client-task.ts'

/** A timer that asks the provider how much of the quota is used. */
export async function pollUsage(errand: Errand): Promise<void> {
  if (errand.kind === 'visit') await errand.watch.visit(errand.visit)
  else await text((await errand.watch.call(errand.call)).body)
}
