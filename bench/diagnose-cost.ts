import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diagnose } from '../src/diagnose/diagnose.ts'
import { evidenceIn } from '../src/diagnose/evidence-source.ts'
import { readRecords } from '../src/events/disk-records.ts'
import { knownProcess, processRow } from '../src/events/process-row.ts'
import { retentionOf } from '../src/events/retention.ts'
import { writtenSpan } from '../src/events/span-columns.ts'
import type { SpanRow } from '../src/events/span-row.ts'
import { SpanWriter } from '../src/events/span-writer.ts'
import { playScenario } from '../src/simulator/scenarios/harness.ts'
import type { Scenario } from '../src/simulator/scenarios/scenario.ts'
import { SCENARIOS } from '../src/simulator/scenarios/scenarios.ts'

/** What diagnose took over a large recorder. */
export interface DiagnoseCost {
  readonly spans: number
  /** Spans that diagnose read: of a large recorder it reads the newest ones. */
  readonly readSpans: number
  readonly bytes: number
  readonly rules: number
  readonly findings: number
  /** Each reading and its diagnosis, in ms. */
  readonly readMs: readonly number[]
  readonly diagnoseMs: readonly number[]
  /** Processor time of each round, in ms: what it takes where no other caller is at work. */
  readonly processorMs: readonly number[]
  readonly heapBytes: number
}

const SPANS = 200_000
const ROUNDS = 3
const ROWS_AT_ONCE = 2_000
/** What a busy week looks like: mostly healthy, with some of everything that one process can play quickly. */
const PLAYED: Readonly<Record<string, number>> = {
  'normal-rotation': 60,
  'gate-bypass': 1,
  'forced-refresh-storm': 1,
  'rejected-while-valid': 2,
  'grant-expired': 1,
}
const A_WEEK_MS = 7 * 86_400_000

/** Fills a recorder on disk with spans of played scenarios, over and over with new ids and times, and diagnoses it. */
export async function measureDiagnoseCost(note: (text: string) => void): Promise<DiagnoseCost> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-bench-'))
  try {
    note('diagnose: playing what is recorded')
    const cycle = await playedRows(join(folder, 'played'))
    note(`diagnose: writing ${SPANS} spans`)
    const state = join(folder, 'state')
    const bytes = writeSpans(state, cycle, { spans: SPANS, firstCopy: 100, startMs: Date.now() - A_WEEK_MS, endMs: Date.now() })
    const readMs: number[] = []
    const diagnoseMs: number[] = []
    const processorMs: number[] = []
    let findings = 0
    let readSpans = 0
    let rules = 0
    for (let round = 1; round <= ROUNDS; round += 1) {
      const usage = process.cpuUsage()
      const beganAt = performance.now()
      const evidence = evidenceIn(state)
      const readAt = performance.now()
      const diagnosis = diagnose(evidence)
      readMs.push(readAt - beganAt)
      diagnoseMs.push(performance.now() - readAt)
      const { user, system } = process.cpuUsage(usage)
      processorMs.push((user + system) / 1000)
      findings = diagnosis.findings.length
      rules = diagnosis.checked.rules
      readSpans = diagnosis.checked.events
      if (readSpans === 0) throw new Error(`no span was read of ${SPANS}`)
    }
    return { spans: SPANS, readSpans, bytes, rules, findings, readMs, diagnoseMs, processorMs, heapBytes: process.memoryUsage().heapUsed }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The table of one measurement. */
export function writeDiagnoseCost({
  spans,
  readSpans,
  bytes,
  rules,
  findings,
  readMs,
  diagnoseMs,
  processorMs,
  heapBytes,
}: DiagnoseCost): string {
  const totals = readMs.map((read, round) => read + (diagnoseMs[round] ?? 0))
  const seconds = (values: readonly number[]) => values.map(ms => (ms / 1000).toFixed(2)).join(', ')
  return [
    `diagnose over a recorder of ${spans} spans (${(bytes / 1_000_000).toFixed(0)} MB on disk), ${readSpans} of them read, ${rules} rules, ${findings} findings`,
    `  reading      ${seconds(readMs)} s`,
    `  diagnosing   ${seconds(diagnoseMs)} s`,
    `  altogether   ${seconds(totals)} s, of ${readMs.length} rounds the slowest ${(Math.max(...totals) / 1000).toFixed(2)} s`,
    `  of that      ${seconds(processorMs)} s of processor time`,
    `  heap         ${(heapBytes / 1_000_000).toFixed(0)} MB`,
    '',
  ].join('\n')
}

/** Spans of played scenarios, healthy ones mostly. @param root Folder to play in. */
export async function playedRows(root: string): Promise<SpanRow[]> {
  const rows: SpanRow[] = []
  for (const [name, times] of Object.entries(PLAYED)) {
    const scenario = SCENARIOS.find((one): one is Scenario => one.name === name)
    if (!scenario) throw new Error(`there is no scenario ${name}`)
    const state = join(root, name)
    await playScenario(scenario, state)
    const played = readRecords(state, records => [...records.spans()])
    for (let time = 0; time < times; time += 1) rows.push(...played.map(row => renamed(row, time)))
  }
  return rows
}

/** Adds spans to a recorder, spread over a time. @returns Bytes of all spans as they are kept. */
export function writeSpans(
  state: string,
  cycle: readonly SpanRow[],
  {
    spans: count,
    firstCopy,
    startMs,
    endMs,
  }: { readonly spans: number; readonly firstCopy: number; readonly startMs: number; readonly endMs: number },
): number {
  const most = 1_000_000_000
  const bounds = retentionOf({ mostInteresting: most, mostOrdinary: most, mostBytes: 8_000_000_000, mostAgeMs: 2 * A_WEEK_MS })
  const writer = new SpanWriter(state, () => processRow(knownProcess('gateway', 'bench')), bounds)
  let bytes = 0
  for (let from = 0; from < count; from += ROWS_AT_ONCE) {
    const spans = Array.from({ length: Math.min(ROWS_AT_ONCE, count - from) }, (_, index) => {
      const place = from + index
      const row = cycle[place % cycle.length] as SpanRow
      const written = writtenSpan({
        ...renamed(row, firstCopy + Math.floor(place / cycle.length)),
        startMs: startMs + (place / count) * (endMs - startMs),
      })
      bytes += String(written.columns.row).length
      return written
    })
    writer.tryWrite(spans, 0, 5_000)
  }
  writer.close()
  return bytes
}

/** The same span of another time: ids and fingerprints are new, and still the same among themselves. */
function renamed(row: SpanRow, copy: number): SpanRow {
  const mark = copy.toString(16).padStart(4, '0')
  const text = JSON.stringify({ ...row, process: undefined })
  return JSON.parse(text.replaceAll(/"([0-9a-f]{4})((?:[0-9a-f]{8}|[0-9a-f]{12}|[0-9a-f]{28}))"/g, `"${mark}$2"`)) as SpanRow
}
