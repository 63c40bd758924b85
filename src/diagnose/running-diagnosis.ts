import type { GatewatchEvent } from '../domain/events.ts'
import type { EventGaps, EventRange } from '../events/event-reader.ts'
import type { EventSource } from '../events/event-store.ts'
import { setNewest } from '../tools/drop-oldest.ts'
import { type Diagnosis, diagnoseInTurns, type EventStream } from './diagnose.ts'
import type { EvidenceReading } from './evidence.ts'

/** What a running diagnosis reads. */
interface DiagnosedEvents {
  /** Changes with every event that is recorded. */
  readonly version: () => Promise<unknown>
  /** A copy of the events of a range, and what could not be read of it. */
  readonly events: (range: EventRange) => Promise<{ readonly events: EventStream; readonly gaps?: EvidenceReading['gaps'] }>
}

/** A diagnosis is returned again for so long, in ms, whatever is recorded meanwhile. */
const FRESH_MS = 2_000
/** And for so many times the processor time that it took: bounds the share of the processor that diagnosing takes. */
const FRESH_FOR_COST = 20
/** The beginning of a range is rounded down to one of these steps, so that requests close in time share a diagnosis. */
const RANGE_STEP_MS = 60_000
/** Events of each class that a running diagnosis reads; the command reads more of them. */
const MOST_DIAGNOSED = 10_000
/** Ranges whose diagnoses are kept. */
const MOST_RANGES = 8

interface Known {
  readonly version: unknown
  readonly answer: Promise<Diagnosis>
  /** `performance.now()` until which the diagnosis is returned again; absent while it is computed. */
  freshUntil?: number
}

/**
 * The diagnosis of what is recorded, in a process that serves requests: computed in steps, one range at a time, and shared by all callers
 * that ask while it is computed or recent.
 */
export class RunningDiagnosis {
  readonly #recorded: DiagnosedEvents
  readonly #known = new Map<number, Known>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(recorded: DiagnosedEvents) {
    this.#recorded = recorded
  }

  /** @param sinceMs Beginning of the range, epoch ms. @default all that is recorded. @throws what reading throws */
  async of(sinceMs = 0): Promise<Diagnosis> {
    const step = Math.max(0, Math.floor(sinceMs / RANGE_STEP_MS))
    const recent = this.#known.get(step)
    if (recent && isRecent(recent)) return recent.answer
    const version = await this.#recorded.version()
    // Another caller may have been first meanwhile.
    const known = this.#known.get(step)
    if (known && (isRecent(known) || known.version === version)) return known.answer
    return this.#begin(step, version)
  }

  #begin(step: number, version: unknown): Promise<Diagnosis> {
    const answer = this.#last.then(() => this.#workOut(step * RANGE_STEP_MS))
    this.#last = answer.catch(() => undefined)
    const entry: Known = { version, answer: answer.then(({ diagnosis }) => diagnosis) }
    this.#keep(step, entry)
    answer.then(
      ({ tookMs }) => {
        entry.freshUntil = performance.now() + Math.max(FRESH_MS, tookMs * FRESH_FOR_COST)
      },
      () => this.#known.delete(step),
    )
    return entry.answer
  }

  async #workOut(sinceMs: number): Promise<{ diagnosis: Diagnosis; tookMs: number }> {
    const usage = process.cpuUsage()
    const { events, gaps } = await this.#recorded.events({ sinceMs })
    const diagnosis = await diagnoseInTurns(events, gaps)
    const { user, system } = process.cpuUsage(usage)
    return { diagnosis, tookMs: (user + system) / 1_000 }
  }

  #keep(step: number, entry: Known): void {
    setNewest(this.#known, step, entry, MOST_RANGES)
  }
}

function isRecent({ freshUntil }: Known): boolean {
  return freshUntil === undefined || performance.now() < freshUntil
}

/** The diagnosis of an event store. */
export function diagnosisOf(events: EventSource): RunningDiagnosis {
  return new RunningDiagnosis({
    version: () => events.query('storeVersion', undefined),
    events: ({ sinceMs = 0 }) => newestEvents(events, sinceMs),
  })
}

/** The newest events of a store, without their stacks, read a piece at a time. */
async function newestEvents(store: EventSource, sinceMs: number): Promise<{ events: GatewatchEvent[]; gaps: () => EventGaps }> {
  const events: GatewatchEvent[] = []
  let unreadable = 0
  let leftOut = 0
  const most = { kept: MOST_DIAGNOSED, bulk: MOST_DIAGNOSED }
  for await (const piece of store.pieces({ sinceMs, withStacks: false, most })) {
    for (const event of piece.events) events.push(event)
    unreadable += piece.gaps.unreadable
    leftOut += piece.gaps.leftOut
  }
  return { events, gaps: () => ({ unreadable, leftOut }) }
}
