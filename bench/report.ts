import { CASES, type Case, type Measurement } from './measurement.ts'
import { compare, difference, median, ratio, type Spread } from './statistics.ts'
import { table } from './table.ts'
import { type Contestant, type ContestantId, earlierOf } from './variants.ts'

export interface Report {
  readonly rounds: number
  /** Processes of each contestant that shared the rounds. */
  readonly starts: number
  /** The other commit that was measured too. */
  readonly commit?: string
  readonly measurements: readonly Measurement[]
  readonly contestants: Readonly<Record<ContestantId, Contestant>>
  /** The contestants that were measured, the baseline first. */
  readonly measured: readonly ContestantId[]
  readonly wanted: readonly ContestantId[]
  /** What telemetry could not deliver, by contestant. */
  readonly dropped: ReadonlyMap<ContestantId, string>
}

type Figure = Exclude<keyof Measurement, 'contestant' | 'case' | 'round'>

const BYTES_PER_MIB = 1_048_576

/** The whole result as text: a table for each case, one against the other gateway, and what did not go well. */
export function writeReport(report: Report): string {
  const baseline = report.measured[0]
  if (!baseline) return `nothing was measured\n${remarks(report).join('\n')}\n`
  const lines = [
    `Medians of ${report.rounds} interleaved rounds in ${report.starts} processes of each; ratios and differences are to (${baseline}) in the same round: median [quartiles].`,
    'Closed loop: each connection has one request under way. CPU is of the contestant alone, all its threads; where it keeps less',
    'than most of a core busy, upstream or load held it back, and CPU per request says more than requests per second.',
  ]
  for (const of of CASES) lines.push('', heading(of), ...caseTable(report, of, baseline))
  return `${[...lines, ...againstOther(report), ...againstEarlier(report), ...remarks(report)].join('\n')}\n`
}

function heading({ body, connections }: Case): string {
  return `${body}, ${connections} ${connections === 1 ? 'connection' : 'connections'}`
}

function caseTable(report: Report, of: Case, baseline: ContestantId): string[] {
  const firstChunk = of.body === 'SSE' ? ['first chunk ms', 'more'] : []
  const head = ['', 'req/s', 'ratio', 'p50 ms', 'more', 'p99 ms', ...firstChunk, 'CPU us/req', 'ratio', 'cores', 'RSS MiB']
  const rows = report.measured.map(id => {
    const middle = (figure: Figure, digits: number, unit = 1) => (median(figures(report, id, of, figure)) / unit).toFixed(digits)
    const against = (figure: Figure, by: typeof ratio, digits: number) =>
      id === baseline ? '' : shown(compare(figures(report, id, of, figure), figures(report, baseline, of, figure), by), digits)
    return [
      `(${id}) ${report.contestants[id].title}`,
      middle('requestsPerSecond', 0),
      against('requestsPerSecond', ratio, 2),
      middle('p50Ms', 2),
      against('p50Ms', difference, 2),
      middle('p99Ms', 2),
      ...(of.body === 'SSE' ? [middle('firstChunkP50Ms', 2), against('firstChunkP50Ms', difference, 2)] : []),
      middle('cpuUsPerRequest', 0),
      against('cpuUsPerRequest', ratio, 2),
      median(coresUsed(report, id, of)).toFixed(2),
      middle('rssBytes', 0, BYTES_PER_MIB),
    ]
  })
  return table([head, ...rows])
}

/** Gatewatch set against the other gateway, where both were measured. */
function againstOther(report: Report): string[] {
  const own = report.measured.filter(id => id === 'b' || id === 'b-otlp' || id === 'b-all')
  if (own.length === 0 || !report.measured.includes('d')) return []
  const head = ['', 'case', 'req/s', 'p99 ms', 'CPU us/req', 'RSS']
  const rows = own.flatMap(id =>
    CASES.map(of => {
      const times = (figure: Figure) => shown(compare(figures(report, id, of, figure), figures(report, 'd', of, figure), ratio), 2)
      return [`(${id})`, heading(of), times('requestsPerSecond'), times('p99Ms'), times('cpuUsPerRequest'), times('rssBytes')]
    }),
  )
  return ['', `Ratios to (d) ${report.contestants.d.title}`, ...table([head, ...rows])]
}

/** This tree set against the other commit, CPU first: it is what other work on the machine changes least. */
function againstEarlier(report: Report): string[] {
  const { commit } = report
  if (commit === undefined) return []
  const head = [`this tree to ${commit}`, 'CPU us/req', 'req/s', 'p50 ms', 'p99 ms', 'RSS', 'RSS MiB more']
  const rows = report.measured.flatMap(id => {
    const earlier = earlierOf(id as Parameters<typeof earlierOf>[0])
    if (!report.measured.includes(earlier)) return []
    return CASES.map(of => {
      const by = (figure: Figure, how: typeof ratio, digits: number) =>
        shown(compare(figures(report, id, of, figure), figures(report, earlier, of, figure), how), digits)
      const moreMiB = (value: number, base: number) => difference(value, base) / BYTES_PER_MIB
      return [
        `(${id}) ${heading(of)}`,
        by('cpuUsPerRequest', ratio, 2),
        by('requestsPerSecond', ratio, 2),
        by('p50Ms', ratio, 2),
        by('p99Ms', ratio, 2),
        by('rssBytes', ratio, 2),
        by('rssBytes', moreMiB, 0),
      ]
    })
  })
  return ['', `Ratios of this tree to ${commit} in the same round: median [quartiles]`, ...table([head, ...rows])]
}

function remarks({ measurements, measured, wanted, contestants, dropped }: Report): string[] {
  const lines: string[] = []
  for (const id of wanted) {
    const { missing, title } = contestants[id]
    if (missing) lines.push(`(${id}) ${title}: ${missing}`)
  }
  for (const id of measured) {
    const failed = measurements.reduce((sum, measurement) => sum + (measurement.contestant === id ? measurement.failed : 0), 0)
    if (failed > 0) lines.push(`(${id}) ${failed} requests failed; its numbers do not count`)
    const lost = dropped.get(id)
    if (lost) lines.push(`(${id}) dropped telemetry under this load: ${lost}; what is dropped costs less than what is sent`)
  }
  return lines.length > 0 ? ['', ...lines] : []
}

function figures({ measurements }: Report, id: ContestantId, of: Case, figure: Figure): number[] {
  return measurements
    .filter(measurement => measurement.contestant === id && measurement.case === of)
    .map(measurement => measurement[figure])
}

function coresUsed(report: Report, id: ContestantId, of: Case): number[] {
  const requestsPerSecond = figures(report, id, of, 'requestsPerSecond')
  return figures(report, id, of, 'cpuUsPerRequest').map((cpuUs, round) => (cpuUs * (requestsPerSecond[round] ?? 0)) / 1_000_000)
}

function shown({ median: middle, lower, upper }: Spread, digits: number): string {
  return `${middle.toFixed(digits)} [${lower.toFixed(digits)} to ${upper.toFixed(digits)}]`
}
