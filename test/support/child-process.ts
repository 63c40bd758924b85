import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterwards } from './clean-up.ts'

/** How a process ended, with all it said. */
export interface Exit {
  /** An exit code, or the name of a signal. */
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

/** A real process. */
export interface ChildProcess {
  readonly pid: number
  /** The next line it prints. @throws when it ends without one. */
  line(): Promise<string>
  /** Sends the line that a waiting script continues with. */
  goOn(): void
  /** Says something on its input. */
  say(text: string): void
  signal(name: NodeJS.Signals): void
  readonly exit: Promise<Exit>
  /** The exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>
}

/** Starts a script with this very Node; it is gone when the test is over. @param script `file:` URL of the script. */
export function startChild(script: URL, ...parameters: string[]): ChildProcess {
  return startNode([fileURLToPath(script), ...parameters])
}

/** Starts Node with these parameters; it is gone when the test is over. */
export function startNode(parameters: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, parameters, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const exit = new Promise<Exit>(resolve =>
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 'unknown', stdout, stderr })),
  )
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  afterwards(async () => {
    child.kill('SIGKILL')
    await exit
  })
  return {
    pid: child.pid ?? 0,
    exit,
    ended: exit.then(({ code }) => code),
    signal: name => child.kill(name),
    goOn: () => child.stdin.write('go on\n'),
    say: text => child.stdin.write(text),
    line: async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error(`ended (${(await exit).code}) without another line: ${stderr}`)
      return value
    },
  }
}
