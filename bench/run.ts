import { prometheusName } from '../otel/prometheus-name.ts'
import { METRICS } from '../otel/semconv.ts'
import { checkAnswers } from './answer-check.ts'
import { Child } from './child.ts'
import { measureDiagnoseCost, writeDiagnoseCost } from './diagnose-cost.ts'
import { type EarlierTree, earlierTree } from './earlier-tree.ts'
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

type RoundOptions = Pick<BenchOptions, 'rounds' | 'cellMs' | 'warmUpMs'>

/** Starts everybody, warms them up, measures them in turn, round by round, and ends them whatever happens. */
async function bench(options: RoundOptions, own: Parameters<typeof withEarlier>[0], tree?: EarlierTree): Promise<Report> {
  const known = contestants(tree)
  const only: readonly ContestantId[] = tree ? withEarlier(own) : own
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
    for (const id of only) {
      if (known[id].missing) continue
      note(`starting (${id}) ${known[id].title}`)
      const runner = { id, child: await keep(known[id].start(context)), headers: known[id].headers(context) }
      await checkAnswers(runner)
      runners.push(runner)
    }
    for (const runner of runners) await warmUp(load, runner, options.warmUpMs)
    const measurements = await measureInRounds(load, runners, options)
    return {
      rounds: options.rounds,
      ...(tree && { commit: tree.commit }),
      measurements,
      contestants: known,
      measured: runners.map(({ id }) => id),
      wanted: only,
      dropped: await readDropped(runners),
    }
  } finally {
    await Promise.all(children.map(child => child.stop()))
  }
}

/**
 * Within a round every contestant gets a case before the next case begins, so that neighbours in time are compared;
 * every second round goes through them backwards, so that none always comes first.
 */
async function measureInRounds(load: Child, runners: readonly Runner[], { rounds, cellMs }: RoundOptions): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  for (let round = 1; round <= rounds; round += 1) {
    note(`round ${round} of ${rounds}`)
    for (const of of CASES) {
      for (const runner of round % 2 === 0 ? runners.toReversed() : runners)
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
