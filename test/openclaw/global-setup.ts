import type { TestProject } from 'vitest/node'
import { installFencingOpenClaw, installOpenClaw } from './installation.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Folder of the package `openclaw`; empty where it cannot be installed. */
    openClaw: string
    /** Likewise, of release 2026.9.6. */
    fencingOpenClaw: string
  }
}

/** Where the registry cannot be reached nothing is tested, and that is said; in CI it is a failure. */
export async function setup(project: TestProject): Promise<void> {
  project.provide('openClaw', await installOpenClaw().catch(skip))
  project.provide('fencingOpenClaw', await installFencingOpenClaw().catch(skip))
}

function skip(error: unknown): string {
  if (process.env.CI) throw error
  const lines = String(error).split('\n')
  const reason = lines.find(line => line.startsWith('npm error')) ?? lines[0]
  process.stderr.write(`SKIPPED: OpenClaw cannot be installed here, nothing was tested: ${reason}\n`)
  return ''
}
