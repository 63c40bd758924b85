import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DiskRecorder, type DiskRecorderOptions } from '../../src/recorder/disk-recorder.ts'
import { afterwards, stateFolder } from '../store/temp-folder.ts'
import { spansInto } from './world-spans.ts'

/** A recorder of this process, in a folder of its own unless one is given; closed when the test is over. */
export function diskWorld(options: Partial<DiskRecorderOptions> = {}) {
  const folder = options.folder ?? stateFolder()
  const failures: unknown[] = []
  const recorder = new DiskRecorder({ processRole: 'gateway', onFailure: error => failures.push(error), ...options, folder })
  afterwards(() => recorder.shutdown())
  return { folder, recorder, failures, ...spansInto(recorder) }
}

/** Another real process. */
export interface Child {
  readonly pid: number
  /** The next line it prints. @throws when it ends without one. */
  line(): Promise<string>
  goOn(): void
  signal(name: NodeJS.Signals): void
  readonly ended: Promise<{ code: number | string; stdout: string; stderr: string }>
}

/** Starts a script of `fixtures/`; it is gone when the test is over. */
export function startChild(script: string, ...parameters: string[]): Child {
  return startNode([fileURLToPath(new URL(`./fixtures/${script}`, import.meta.url)), ...parameters])
}

/** Starts Node with these parameters; it is gone when the test is over. */
export function startNode(parameters: readonly string[]): Child {
  const child = spawn(process.execPath, parameters, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const ended = new Promise<{ code: number | string; stdout: string; stderr: string }>(resolve =>
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 'unknown', stdout, stderr })),
  )
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
      if (done) throw new Error(`ended without another line: ${stderr}`)
      return value
    },
  }
}
