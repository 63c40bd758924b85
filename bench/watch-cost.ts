import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Child } from './child.ts'
import { compiledRegister } from './compiled.ts'
import type { EarlierTree } from './earlier-tree.ts'
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
  /** `new Error` with 16 frames: what V8 takes for it, a caller that asks. */
  readonly plainErrorUs: number
  /** Frames captured and not read: the cost of a provider call; beyond the sample half as many are captured. */
  readonly notedUs: number
  /** Frames read and known again: what a call of the gateway pays. */
  readonly takenUs: number
}

/** The watched process of another commit, beside those of this tree. */
type CostId = WatchContestantId | 'watched-earlier'

export interface WatchCost {
  /** The other commit that was measured too. */
  readonly commit?: string
  readonly calls: number
  readonly manyCalls: Readonly<Partial<Record<CostId, readonly ManyCalls[]>>>
  /** Start-up of a process that does nothing, in ms; the preload is the compiled one that is published. */
  readonly startUpMs: Readonly<Partial<Record<CostId, readonly number[]>>>
  readonly capture: readonly Capture[]
}

const CALLS = 10_000
const CALL_ROUNDS = 3
const START_ROUNDS = 11
const BYTES_PER_MIB = 1_048_576
const run = promisify(execFile)

/** Measures what does not show under load: start-up, 10,000 provider calls, and one capture of a caller. */
export async function measureWatchCost(note: (text: string) => void, tree?: EarlierTree): Promise<WatchCost> {
  const upstream = await Child.start({ file: new URL('./processes/upstream.ts', import.meta.url) })
  try {
    note(`${CALLS} provider calls, start-up, caller capture`)
    const watchers = await watchersOf(tree)
    const manyCalls = Object.fromEntries(watchers.map(({ id }) => [id, [] as ManyCalls[]]))
    const startUpMs = Object.fromEntries(watchers.map(({ id }) => [id, [] as number[]]))
    const capture: Capture[] = []
    for (let round = 0; round < CALL_ROUNDS; round += 1) {
      for (const { id, as, register } of watchers)
        manyCalls[id]?.push(
          await ask<ManyCalls>('provider-calls', environmentOf(as, upstream.url, register), [upstream.url, String(CALLS)]),
        )
      capture.push(await ask<Capture>('caller-capture', environmentOf('unwatched', upstream.url, ''), []))
    }
    for (let round = 0; round < START_ROUNDS; round += 1)
      for (const { id, as, register } of watchers) startUpMs[id]?.push(await timeOf(environmentOf(as, upstream.url, register)))
    return { ...(tree && { commit: tree.commit }), calls: CALLS, manyCalls, startUpMs, capture }
  } finally {
    await upstream.stop()
  }
}

/** One who is measured: how it is watched, and by which preload. */
interface Watcher {
  readonly id: CostId
  readonly as: WatchContestantId
  readonly register: string
}

async function watchersOf(tree: EarlierTree | undefined): Promise<readonly Watcher[]> {
  const register = await compiledRegister()
  const own = WATCH_CONTESTANTS.map((id): Watcher => ({ id, as: id, register }))
  if (!tree) return own
  return [...own, { id: 'watched-earlier', as: 'watched', register: await compiledRegister(tree.folder) }]
}

export function writeWatchCost({ commit, calls, manyCalls, startUpMs, capture }: WatchCost): string {
  const contestants = watchContestants()
  const title = (id: CostId) => (id === 'watched-earlier' ? `${contestants.watched.title}, ${commit}` : contestants[id].title)
  const figures = (id: CostId, figure: keyof ManyCalls) => (manyCalls[id] ?? []).map(one => one[figure])
  const against = (id: CostId, figure: keyof ManyCalls, base: CostId = 'unwatched') =>
    compare(figures(id, figure), figures(base, figure), ratio).median.toFixed(2)
  const middle = (id: CostId, figure: keyof ManyCalls) => median(figures(id, figure))
  const startUp = (id: CostId) => startUpMs[id] ?? []
  const later = (id: CostId, base: CostId) => compare(startUp(id), startUp(base), difference).median.toFixed(0)
  const ids: readonly CostId[] = commit === undefined ? WATCH_CONTESTANTS : [...WATCH_CONTESTANTS, 'watched-earlier']
  const rows = ids.map(id => [
    `(${id}) ${title(id)}`,
    middle(id, 'callsPerSecond').toFixed(0),
    id === 'unwatched' ? '' : against(id, 'callsPerSecond'),
    middle(id, 'cpuUsPerCall').toFixed(0),
    id === 'unwatched' ? '' : against(id, 'cpuUsPerCall'),
    middle(id, 'heapRatio').toFixed(2),
    (middle(id, 'rssBytes') / BYTES_PER_MIB).toFixed(0),
    median(startUp(id)).toFixed(0),
    id === 'unwatched' ? '' : later(id, 'unwatched'),
  ])
  const head = ['', 'calls/s', 'ratio', 'CPU us/call', 'ratio', 'heap after/before', 'RSS MiB', 'start-up ms', 'more']
  const captured = (figure: keyof Capture) => median(capture.map(one => one[figure])).toFixed(1)
  return `${[
    `${calls} provider calls of one process with nothing else to do, 16 at a time, medians of ${CALL_ROUNDS} rounds; start-up of ${START_ROUNDS}`,
    ...table([head, ...rows]),
    ...(commit === undefined
      ? []
      : [
          '',
          `watched, this tree to ${commit} in the same round: CPU per call ${against('watched', 'cpuUsPerCall', 'watched-earlier')}, start-up ${later('watched', 'watched-earlier')} ms more`,
        ]),
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
async function ask<Answer>(name: string, env: NodeJS.ProcessEnv, parameters: readonly string[]): Promise<Answer> {
  const file = fileURLToPath(new URL(`./processes/${name}.ts`, import.meta.url))
  const { stdout } = await run(process.execPath, ['--expose-gc', file, ...parameters], { env })
  return JSON.parse(stdout) as Answer
}

async function timeOf(env: NodeJS.ProcessEnv): Promise<number> {
  const startedAt = performance.now()
  await run(process.execPath, ['--eval', ''], { env })
  return performance.now() - startedAt
}

function environmentOf(id: WatchContestantId, upstreamUrl: string, register: string): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production', ...watchingEnvironmentOf(id, upstreamUrl, register) }
}
