import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { table } from './table.ts'

/** What is measured in a process of its own, without HTTP: the parts that a load test cannot distinguish. */
export const ISOLATED = ['start', 'acquire', 'calls', 'events', 'loop', 'memory', 'ops'] as const
export type IsolatedId = (typeof ISOLATED)[number]

/** What a part showed: what it is called, and its figures in rows. */
export interface IsolatedResult {
  readonly title: string
  readonly rows: readonly (readonly string[])[]
}

/** Longest wait for a result: a million calls take their time. */
const LONGEST_MS = 900_000

/** Measures one part. @throws {Error} when its process ends without a result. */
export function measureIsolated(id: IsolatedId, rounds: number): Promise<IsolatedResult> {
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('OTEL_'))
  const child = fork(fileURLToPath(new URL(`./processes/${id}.ts`, import.meta.url)), [String(rounds)], {
    execArgv: ['--expose-gc'],
    env: { ...Object.fromEntries(environment), NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_MS)
    child.once('message', result => {
      clearTimeout(timer)
      resolve(result as IsolatedResult)
      child.disconnect()
    })
    child.once('exit', code => {
      clearTimeout(timer)
      reject(new Error(`the measurement of ${id} ended without a result (${code})`))
    })
  })
}

export function writeAlone({ title, rows }: IsolatedResult): string {
  return `\n${[title, ...table(rows)].join('\n')}\n`
}

/** For the process that measures: hands its result over and ends. */
export function reportAlone(result: IsolatedResult): void {
  process.once('disconnect', () => process.exit(0))
  process.send?.(result)
}
