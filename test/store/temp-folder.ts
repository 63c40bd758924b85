import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { type FileStoreOptions, fileStore } from '../../src/store/file-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'

const cleanUps: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** Runs `cleanUp` when the test is over, last come first. */
export function afterwards(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp)
}

/** A state folder that does not exist yet, in a temporary one. */
export function stateFolder(): string {
  const root = mkdtempSync(join(tmpdir(), 'gatewatch-store-'))
  afterwards(() => rmSync(root, { recursive: true, force: true }))
  return join(root, 'state')
}

/** A file store that is closed when the test is over. */
export function openStore(folder: string, options?: FileStoreOptions): ProfileStore {
  const store = fileStore(folder, options)
  afterwards(() => store.close())
  return store
}
