import type { TestProject } from 'vitest/node'
import { installCodex } from './installation.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Script that starts the Codex CLI; empty where it cannot be installed. */
    codex: string
  }
}

/** Where the registry cannot be reached nothing is tested, and that is said; in CI it is a failure. */
export async function setup(project: TestProject): Promise<void> {
  project.provide('codex', await installCodex().catch(skip))
}

function skip(error: unknown): string {
  if (process.env.CI) throw error
  const lines = String(error).split('\n')
  const reason = lines.find(line => line.startsWith('npm error')) ?? lines[0]
  process.stderr.write(`SKIPPED: the Codex CLI cannot be installed here, nothing was tested: ${reason}\n`)
  return ''
}
