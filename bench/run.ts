import { prometheusName } from '../otel/prometheus-name.ts'
import { METRICS } from '../otel/semconv.ts'
import { checkAnswers } from './answer-check.ts'
import { Child } from './child.ts'
import { measureDiagnoseCost, writeDiagnoseCost } from './diagnose-cost.ts'
import { type EarlierTree, earlierTree } from './earlier-tree.ts'
import { EMBED_CONTESTANTS } from './embedded.ts'
import { measureIsolated, writeAlone } from './isolate.ts'
import { CASES, type Measurement, measure, type Runner, warmUp } from './measurement.ts'
import { type BenchOptions, HELP, readOptions } from './options.ts'
import { type Report, writeReport } from './report.ts'
import { type ContestantId, contestants, type Surroundings, withEarlier } from './variants.ts'
import { measureWatchCost, writeWatchCost } from './watch-cost.ts'
import { WATCH_CONTESTANTS } from './watched.ts'

const EXIT = { failed: 1, usage: 2 } as const
/** Gateways with metrics of their own. */
const REPORTS_DROPPED: ReadonlySet<ContestantId> = new Set(withEarlier(['b', 'b-otlp', 'b-all', 'c']))

type RoundOptions = Pick<BenchOptions, 'rounds' | 'starts' | 'cellMs' | 'warmUpMs'>

/**
 * Measures everybody in turn, round by round. Each contestant runs in several processes, one after the other: how far the heap
 * grows and what V8 compiles differs from process to process by more than many changes do.
 */
async function bench(options: RoundOptions, own: Parameters<typeof withEarlier>[0], tree?: EarlierTree): Promise<Report> {
  const known = contestants(tree)
  const wanted: readonly ContestantId[] = tree ? withEarlier(own) : own
  const measured = wanted.filter(id => !known[id].missing)
  const measurements: Measurement[] = []
  const dropped = new Map<ContestantId, string>()
  for (let start = 0; start < options.starts; start += 1) {
    const rounds = roundsOfStart(start, options)
    await withContestants(measured, known, async (load, runners) => {
      for (const runner of runners) await warmUp(load, runner, options.warmUpMs)
      measurements.push(...(await measureInRounds(load, runners, rounds, options)))
      for (const [id, text] of await readDropped(runners)) dropped.set(id, text)
    })
  }
  const { rounds, starts } = options
  return { rounds, starts, ...(tree && { commit: tree.commit }), measurements, contestants: known, measured, wanted, dropped }
}

/** @returns The rounds that fall to the processes of one start. */
function roundsOfStart(start: number, { rounds, starts }: RoundOptions): number[] {
  return Array.from({ length: rounds }, (_, index) => index + 1).filter(round => round % starts === start)
}

/** Starts everybody, lets them be measured, and ends them whatever happens. */
async function withContestants(
  ids: readonly ContestantId[],
  known: ReturnType<typeof contestants>,
  use: (load: Child, runners: readonly Runner[]) => Promise<void>,
): Promise<void> {
  const children: Child[] = []
  const keep = async (starting: Promise<Child>): Promise<Child> => {
    const child = await starting
    children.push(child)
    return child
  }
  try {
    const upstream = await keep(Child.start({ file: script('upstream') }))
    const receiver = await keep(Child.start({ file: script('receiver') }))
    const load = await keep(Child.start({ file: script('load') }))
    const context: Surroundings = { upstreamUrl: upstream.url, receiverUrl: receiver.url }

    const runners: Runner[] = []
    for (const id of ids) {
      note(`starting (${id}) ${known[id].title}`)
      const runner = { id, child: await keep(known[id].start(context)), headers: known[id].headers(context) }
      await checkAnswers(runner)
      runners.push(runner)
    }
    await use(load, runners)
  } finally {
    await Promise.all(children.map(child => child.stop()))
  }
}

/**
 * Within a round every contestant gets a case before the next case begins, so that neighbours in time are compared;
 * every second round goes through them backwards, so that none always comes first.
 */
async function measureInRounds(
  load: Child,
  runners: readonly Runner[],
  rounds: readonly number[],
  { cellMs, rounds: all }: RoundOptions,
): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  for (const [place, round] of rounds.entries()) {
    note(`round ${round} of ${all}`)
    for (const of of CASES) {
      for (const runner of place % 2 === 1 ? runners.toReversed() : runners)
        measurements.push(await measure(load, runner, round, of, cellMs))
    }
  }
  return measurements
}

/** What telemetry could not deliver, by each gateway's own metrics. */
async function readDropped(runners: readonly Runner[]): Promise<Map<ContestantId, string>> {
  const dropped = new Map<ContestantId, string>()
  const series = new RegExp(String.raw`^${prometheusName(METRICS.telemetryDropped)}\{(.*)\} (\d+)`)
  for (const { id, child } of runners) {
    if (!REPORTS_DROPPED.has(id)) continue
    const text = await (await fetch(`${child.url}/metrics`)).text()
    const lost = text.split('\n').flatMap(line => {
      const [, labels, count] = series.exec(line) ?? []
      return count ? [`${count} at ${/place="(\w+)"/.exec(labels ?? '')?.[1] ?? 'unknown'}`] : []
    })
    if (lost.length > 0) dropped.set(id, lost.join(', '))
  }
  return dropped
}

function script(name: string): URL {
  return new URL(`./processes/${name}.ts`, import.meta.url)
}

function show(report: Report, { json }: BenchOptions): void {
  const { contestants: _contestants, dropped, ...result } = report
  const text = json ? `${JSON.stringify({ ...result, dropped: Object.fromEntries(dropped) }, undefined, 2)}\n` : writeReport(report)
  process.stdout.write(text)
  if (report.measurements.some(({ failed }) => failed > 0)) process.exitCode = EXIT.failed
}

async function measureAll(options: BenchOptions): Promise<void> {
  const tree = options.against === undefined ? undefined : await earlierTree(options.against, note)
  try {
    if (options.only.length > 0) show(await bench(options, options.only, tree), options)
    if (options.watch) {
      show(await bench(options, WATCH_CONTESTANTS, tree), options)
      const cost = await measureWatchCost(note, tree)
      print(options, cost, () => `\n${writeWatchCost(cost)}`)
    }
    if (options.embed) show(await bench(options, EMBED_CONTESTANTS, tree), options)
    if (options.diagnose) {
      const cost = await measureDiagnoseCost(note)
      print(options, cost, () => `\n${writeDiagnoseCost(cost)}`)
    }
    for (const id of options.alone) {
      note(`measuring ${id}`)
      const result = await measureIsolated(id, options.rounds)
      print(options, result, () => writeAlone(result))
    }
  } finally {
    tree?.remove()
  }
}

function print({ json }: BenchOptions, result: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(result, undefined, 2)}\n` : text())
}

/** Progress goes to stderr: stdout is the result. */
function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options) await measureAll(options)
  else process.stdout.write(HELP)
} catch (error) {
  const isUsage = error instanceof TypeError
  note(error instanceof Error ? error.message : String(error))
  if (isUsage) note(HELP)
  process.exitCode = isUsage ? EXIT.usage : EXIT.failed
}
