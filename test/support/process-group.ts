import { spawn } from 'node:child_process'
import type { Exit } from './child-process.ts'

export interface RunOptions {
  cwd: string
  env: NodeJS.ProcessEnv
  /** After so many ms it is ended, with all it has started. */
  longestMs: number
}

/** Runs Node to its end, which comes for it and for all it has started when it takes too long. */
export function runToItsEnd(parameters: readonly string[], { longestMs, ...options }: RunOptions): Promise<Exit> {
  const child = spawn(process.execPath, parameters, { ...options, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const endAll = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // They are gone already.
    }
  }
  const limit = setTimeout(endAll, longestMs)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(limit)
      endAll()
      resolve({ code: code ?? signal ?? 'unknown', stdout, stderr })
    })
  })
}
