import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const cleanUps: (() => unknown)[] = []

/** Runs `cleanUp` when the test is over, last come first. */
export function afterwards(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp)
}

/** Runs what has been given to {@link afterwards} since. All of it, whatever fails. @throws the first failure. */
export async function cleanUp(): Promise<void> {
  const failures: unknown[] = []
  for (const one of cleanUps.splice(0).reverse())
    try {
      await one()
    } catch (error) {
      failures.push(error)
    }
  if (failures.length > 0) throw failures[0]
}

/** A state folder that does not exist yet, in a temporary one that is removed after the test. */
export function stateFolder(): string {
  const root = mkdtempSync(join(tmpdir(), 'gatewatch-'))
  afterwards(() => rmSync(root, { recursive: true, force: true }))
  return join(root, 'state')
}
