import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Modules in temporary folders get entries of their own in every run; without an end the folder would only grow. */
const MOST_ENTRIES = 20_000

/**
 * Where Node keeps what it has stripped and compiled, for this run and the next ones: `NODE_COMPILE_CACHE`.
 *
 * @param root Of the repository.
 * @returns the folder; it is emptied first when it holds too much.
 */
export function compileCache(root: string): string {
  const folder = join(root, 'node_modules/.cache/compiled')
  if (entriesIn(folder) > MOST_ENTRIES) rmSync(folder, { recursive: true, force: true })
  return folder
}

/** Node makes a folder for each version of it, and files in that: `recursive` would take a third of a second for ten thousand. */
function entriesIn(folder: string): number {
  if (!existsSync(folder)) return 0
  return readdirSync(folder).reduce((count, version) => count + readdirSync(join(folder, version)).length, 0)
}
