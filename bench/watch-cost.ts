import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Child } from './child.ts'
import { compiledRegister } from './compiled.ts'
import { compare, difference, median, ratio } from './statistics.ts'
import { table } from './table.ts'
import { WATCH_CONTESTANTS, type WatchContestantId, watchContestants, watchingEnvironmentOf } from './watched.ts'

/** What one process that calls its provider said of itself. */
interface ManyCalls {
  readonly callsPerSecond: number
  readonly cpuUsPerCall: number
  /** Heap after the calls against the heap before them, both after a collection. */
  readonly heapRatio: number
  readonly rssBytes: number
}

interface Capture {
  /** `new Error` with 16 frames: what V8 takes for it, whoever asks. */
  readonly plainErrorUs: number
  /** Frames noted for whoever may read them: what a provider call pays; beyond the sample it notes half as many. */
  readonly notedUs: number
  /** Frames read and known again: what a call of the gateway pays. */
  readonly takenUs: number
}

export interface WatchCost {
  readonly calls: number
  readonly manyCalls: Readonly<Record<WatchContestantId, readonly ManyCalls[]>>
  /** Start-up of a process that does nothing, in ms; the preload is the compiled one that is published. */
  readonly startUpMs: Readonly<Record<WatchContestantId, readonly number[]>>
  readonly capture: readonly Capture[]
}

const CALLS = 10_000
const CALL_ROUNDS = 3
const START_ROUNDS = 11
const BYTES_PER_MIB = 1_048_576
const run = promisify(execFile)

/** Measures what does not show under load: start-up, 10,000 provider calls, and one capture of a caller. */
export async function measureWatchCost(note: (text: string) => void): Promise<WatchCost> {
  const upstream = await Child.start({ file: new URL('./processes/upstream.ts', import.meta.url) })
  try {
    note(`${CALLS} provider calls, start-up, caller capture`)
    const manyCalls: Record<WatchContestantId, ManyCalls[]> = { unwatched: [], watched: [], forensic: [] }
    const startUpMs: Record<WatchContestantId, number[]> = { unwatched: [], watched: [], forensic: [] }
    const capture: Capture[] = []
    for (let round = 0; round < CALL_ROUNDS; round += 1) {
      for (const id of WATCH_CONTESTANTS)
        manyCalls[id].push(await ask<ManyCalls>('provider-calls', id, upstream.url, [upstream.url, String(CALLS)]))
      capture.push(await ask<Capture>('caller-capture', 'unwatched', upstream.url, []))
    }
    const register = await compiledRegister()
    for (let round = 0; round < START_ROUNDS; round += 1)
      for (const id of WATCH_CONTESTANTS) startUpMs[id].push(await timeOf(id, upstream.url, register))
    return { calls: CALLS, manyCalls, startUpMs, capture }
  } finally {
    await upstream.stop()
  }
}

export function writeWatchCost({ calls, manyCalls, startUpMs, capture }: WatchCost): string {
  const contestants = watchContestants()
  const against = (id: WatchContestantId, figure: keyof ManyCalls) =>
    compare(
      manyCalls[id].map(one => one[figure]),
      manyCalls.unwatched.map(one => one[figure]),
      ratio,
    ).median.toFixed(2)
  const middle = (id: WatchContestantId, figure: keyof ManyCalls) => median(manyCalls[id].map(one => one[figure]))
  const rows = WATCH_CONTESTANTS.map(id => [
    `(${id}) ${contestants[id].title}`,
    middle(id, 'callsPerSecond').toFixed(0),
    id === 'unwatched' ? '' : against(id, 'callsPerSecond'),
    middle(id, 'cpuUsPerCall').toFixed(0),
    id === 'unwatched' ? '' : against(id, 'cpuUsPerCall'),
    middle(id, 'heapRatio').toFixed(2),
    (middle(id, 'rssBytes') / BYTES_PER_MIB).toFixed(0),
    median(startUpMs[id]).toFixed(0),
    id === 'unwatched' ? '' : compare(startUpMs[id], startUpMs.unwatched, difference).median.toFixed(0),
  ])
  const head = ['', 'calls/s', 'ratio', 'CPU us/call', 'ratio', 'heap after/before', 'RSS MiB', 'start-up ms', 'more']
  const captured = (figure: keyof Capture) => median(capture.map(one => one[figure])).toFixed(1)
  return `${[
    `${calls} provider calls of one process with nothing else to do, 16 at a time, medians of ${CALL_ROUNDS} rounds; start-up of ${START_ROUNDS}`,
    ...table([head, ...rows]),
    '',
    'caller capture, 16 frames, warm, median us',
    ...table([
      ['noted, as for a provider call', captured('notedUs')],
      ['taken, described and known again', captured('takenUs')],
      ['new Error, the least V8 does it for', captured('plainErrorUs')],
    ]),
  ].join('\n')}\n`
}

/** Runs a script to its end. @returns What it printed. */
async function ask<Answer>(name: string, id: WatchContestantId, upstreamUrl: string, parameters: readonly string[]): Promise<Answer> {
  const file = fileURLToPath(new URL(`./processes/${name}.ts`, import.meta.url))
  const { stdout } = await run(process.execPath, ['--expose-gc', file, ...parameters], { env: environmentOf(id, upstreamUrl) })
  return JSON.parse(stdout) as Answer
}

async function timeOf(id: WatchContestantId, upstreamUrl: string, register: string): Promise<number> {
  const startedAt = performance.now()
  await run(process.execPath, ['--eval', ''], { env: environmentOf(id, upstreamUrl, register) })
  return performance.now() - startedAt
}

function environmentOf(id: WatchContestantId, upstreamUrl: string, register?: string): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production', ...watchingEnvironmentOf(id, upstreamUrl, register) }
}
