import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Diagnosis } from '../../../src/diagnose/diagnose.ts'

const SCRIPT = fileURLToPath(new URL('./quiet-hour.ts', import.meta.url))

/** Lets an hour pass in a process of its own. @returns What `diagnose` says to it. */
export async function quietHour(state: string): Promise<Diagnosis> {
  const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, state])
  return JSON.parse(stdout) as Diagnosis
}
