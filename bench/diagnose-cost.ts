import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diagnose } from '../src/diagnose/diagnose.ts'
import { evidenceIn } from '../src/diagnose/evidence-source.ts'
import type { GatewatchEvent } from '../src/domain/events.ts'
import { eventFile } from '../src/events/event-file.ts'
import { EventReader } from '../src/events/event-reader.ts'
import { readEvents } from '../src/events/read-events.ts'
import { playScenario } from '../src/simulator/scenarios/harness.ts'
import type { Scenario } from '../src/simulator/scenarios/scenario.ts'
import { SCENARIOS } from '../src/simulator/scenarios/scenarios.ts'
import { storeEvents } from './stored-events.ts'

/** What diagnose took over a large event store. */
export interface DiagnoseCost {
  readonly events: number
  /** Events that diagnose read: of a large event store it reads the newest ones. */
  readonly eventsRead: number
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

const EVENTS = 200_000
const ROUNDS = 3
/** What a busy week looks like: mostly healthy, with some of everything that one process can play quickly. */
const PLAYED: Readonly<Record<string, number>> = {
  'normal-rotation': 60,
  'gate-bypass': 1,
  'forced-refresh-storm': 1,
  'rejected-while-valid': 2,
  'grant-expired': 1,
}
const A_WEEK_MS = 7 * 86_400_000

/** Fills an event store with events of played scenarios, over and over with new ids and times, and diagnoses it. */
export async function measureDiagnoseCost(note: (text: string) => void): Promise<DiagnoseCost> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-bench-'))
  try {
    note('diagnose: playing what is recorded')
    const cycle = await playedEvents(join(folder, 'played'))
    note(`diagnose: writing ${EVENTS} events`)
    const state = join(folder, 'state')
    writeEvents(state, cycle, { events: EVENTS, firstCopy: 100, startMs: Date.now() - A_WEEK_MS, endMs: Date.now() })
    const bytes = (await stat(eventFile(state))).size
    const readMs: number[] = []
    const diagnoseMs: number[] = []
    const processorMs: number[] = []
    let findings = 0
    let eventsRead = 0
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
      eventsRead = diagnosis.checked.events
      if (eventsRead === 0) throw new Error(`no event was read of ${EVENTS}`)
    }
    return {
      events: EVENTS,
      eventsRead,
      bytes,
      rules,
      findings,
      readMs,
      diagnoseMs,
      processorMs,
      heapBytes: process.memoryUsage().heapUsed,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The table of one measurement. */
export function writeDiagnoseCost({
  events,
  eventsRead,
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
    `diagnose over ${events} events (${(bytes / 1_000_000).toFixed(0)} MB on disk), ${eventsRead} of them read, ${rules} rules, ${findings} findings`,
    `  reading      ${seconds(readMs)} s`,
    `  diagnosing   ${seconds(diagnoseMs)} s`,
    `  altogether   ${seconds(totals)} s, of ${readMs.length} rounds the slowest ${(Math.max(...totals) / 1000).toFixed(2)} s`,
    `  of that      ${seconds(processorMs)} s of processor time`,
    `  heap         ${(heapBytes / 1_000_000).toFixed(0)} MB`,
    '',
  ].join('\n')
}

/** Events of played scenarios, healthy ones mostly. @param root Folder to play in. */
export async function playedEvents(root: string): Promise<GatewatchEvent[]> {
  const events: GatewatchEvent[] = []
  for (const [name, times] of Object.entries(PLAYED)) {
    const scenario = SCENARIOS.find((one): one is Scenario => one.name === name)
    if (!scenario) throw new Error(`there is no scenario ${name}`)
    const state = join(root, name)
    await playScenario(scenario, state)
    const played = readEvents(state, database => [...new EventReader(database).events()])
    for (let time = 0; time < times; time += 1) events.push(...played.map(event => renamed(event, time)))
  }
  return events
}

/** Adds events to a store, spread over a time. */
export function writeEvents(
  state: string,
  cycle: readonly GatewatchEvent[],
  {
    events: count,
    firstCopy,
    startMs,
    endMs,
  }: { readonly events: number; readonly firstCopy: number; readonly startMs: number; readonly endMs: number },
): void {
  storeEvents(state, count, place => {
    const event = cycle[place % cycle.length] as GatewatchEvent
    const copy = firstCopy + Math.floor(place / cycle.length)
    return { ...renamed(event, copy), startMs: startMs + (place / count) * (endMs - startMs) }
  })
}

/** The same event of another time: ids and fingerprints are new, and still the same among themselves. */
function renamed(event: GatewatchEvent, copy: number): GatewatchEvent {
  const mark = copy.toString(16).padStart(4, '0')
  const text = JSON.stringify({ ...event, process: undefined })
  return JSON.parse(text.replaceAll(/"([0-9a-f]{4})((?:[0-9a-f]{8}|[0-9a-f]{12}|[0-9a-f]{28}))"/g, `"${mark}$2"`)) as GatewatchEvent
}
