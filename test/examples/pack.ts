import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { packInto } from '../hosts/installation.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The package of this repository, packed. */
    tarball: string
  }
}

/** Packs this repository once for all examples. */
export default async function pack(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-examples-'))
  project.provide('tarball', await packInto(folder))
  return () => rmSync(folder, { recursive: true, force: true })
}
