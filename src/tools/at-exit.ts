import { runGuarded } from './run-guarded.ts'

const works = new Set<() => void>()

function onExit(): void {
  for (const work of [...works]) runGuarded(work, () => undefined)
}

/**
 * Registers work for the moment at which the process exits: synchronous, in the order of registration, and before the
 * host's own listeners, one of which may end the process at once.
 *
 * One listener of `exit` serves all of it: Node warns of the eleventh, and hosts have up to nine.
 *
 * @returns Forgets the work; with the last one the listener is gone.
 */
export function atExit(work: () => void): () => void {
  if (works.size === 0) process.prependListener('exit', onExit)
  works.add(work)
  return () => {
    if (works.delete(work) && works.size === 0) process.off('exit', onExit)
  }
}
