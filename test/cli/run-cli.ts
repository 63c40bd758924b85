import { type ChildProcess, spawn } from 'node:child_process'
import { bareEnvironment } from '../support/child-environment.ts'
import { MAIN } from '../support/own-programs.ts'

/** How a command ended. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command under way. */
export interface Running {
  readonly child: ChildProcess
  /** Resolves with the first match of `pattern` on stdout or stderr. Rejects when the command ends without one. */
  until(pattern: RegExp): Promise<RegExpExecArray>
  ended: Promise<Ended>
}

/** Runs the command line as a real process. */
export function runCli(
  parameters: readonly string[],
  { environment = {}, cwd, main = MAIN }: { environment?: Record<string, string>; cwd?: string; main?: string } = {},
): Running {
  const child = spawn(process.execPath, [main, ...parameters], {
    cwd,
    env: bareEnvironment(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  const listeners = new Set<() => void>()
  const hear = (keep: (text: string) => void) => (chunk: Buffer) => {
    keep(chunk.toString())
    for (const listener of listeners) listener()
  }
  child.stdout.on(
    'data',
    hear(text => {
      stdout += text
    }),
  )
  child.stderr.on(
    'data',
    hear(text => {
      stderr += text
    }),
  )
  const ended = new Promise<Ended>(resolve => child.once('close', code => resolve({ code, stdout, stderr })))
  return {
    child,
    ended,
    until: pattern =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(stdout) ?? pattern.exec(stderr)
          if (!found) return
          listeners.delete(look)
          resolve(found)
        }
        listeners.add(look)
        ended.then(({ code }) => reject(new Error(`the command ended (${code}) before it said ${pattern}:\n${stdout}\n${stderr}`)))
        look()
      }),
  }
}
