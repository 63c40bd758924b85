import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterwards } from './world.ts'

/** A real process that runs a script of `test/e2e/fixtures`. */
export interface ChildProcess {
  readonly pid: number
  /** The next line it prints. @throws when it ends without one. */
  line(): Promise<string>
  /** Tells it to go on, for scripts that wait for that. */
  goOn(): void
  signal(name: NodeJS.Signals): void
  /** How it ended: an exit code, or the name of a signal. */
  readonly ended: Promise<number | string>
}

/** Starts `test/e2e/fixtures/<script>` with this very Node; it is gone when the test is over. */
export function startChild(script: string, ...parameters: string[]): ChildProcess {
  const path = fileURLToPath(new URL(`../e2e/fixtures/${script}`, import.meta.url))
  const child = spawn(process.execPath, [path, ...parameters], { stdio: ['pipe', 'pipe', 'pipe'] })
  let complaints = ''
  child.stderr.on('data', chunk => {
    complaints += chunk
  })
  const ended = new Promise<number | string>(resolve => child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown')))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  afterwards(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    pid: child.pid ?? 0,
    ended,
    signal: name => child.kill(name),
    goOn: () => child.stdin.write('go on\n'),
    line: async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${script} ended (${await ended}) without another line: ${complaints}`)
      return value
    },
  }
}
