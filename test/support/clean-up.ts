import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'

const cleanUps: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** Runs `cleanUp` when the test is over, last come first. */
export function afterwards(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp)
}

/** A state folder that does not exist yet, in a temporary one that is removed after the test. */
export function stateFolder(): string {
  const root = mkdtempSync(join(tmpdir(), 'gatewatch-'))
  afterwards(() => rmSync(root, { recursive: true, force: true }))
  return join(root, 'state')
}
