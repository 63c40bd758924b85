import type { SpanRange } from '../events/recorded-spans.ts'
import { type Diagnosis, diagnoseInTurns, type EventStream } from './diagnose.ts'
import type { EvidenceReading } from './evidence.ts'

/** The recorder that a running diagnosis reads. */
export interface DiagnosedRecorder {
  /** Changes with every event that is recorded. */
  readonly version: () => unknown
  /** A copy of the events of a range, and what could not be read of it. */
  readonly events: (range: SpanRange) => Promise<{ readonly events: EventStream; readonly gaps?: EvidenceReading['gaps'] }>
}

/** A diagnosis is returned again for so long, in ms, whatever is recorded meanwhile. */
const FRESH_MS = 2_000
/** And for so many times the processor time that it took: bounds the share of the processor that diagnosing takes. */
const FRESH_FOR_COST = 20
/** The beginning of a range is rounded down to one of these steps, so that requests close in time share a diagnosis. */
const RANGE_STEP_MS = 60_000
/** Ranges whose diagnoses are kept. */
const MOST_RANGES = 8

interface Known {
  readonly version: unknown
  readonly answer: Promise<Diagnosis>
  /** `performance.now()` until which the diagnosis is returned again; absent while it is computed. */
  freshUntil?: number
}

/**
 * The diagnosis of the recorder of a process that serves requests: computed in steps, one range at a time, and shared by all callers
 * that ask while it is computed or recent.
 */
export class RunningDiagnosis {
  readonly #recorder: DiagnosedRecorder
  readonly #known = new Map<number, Known>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(recorder: DiagnosedRecorder) {
    this.#recorder = recorder
  }

  /** @param sinceMs Beginning of the range, epoch ms. @default all that is recorded. @throws what reading throws */
  of(sinceMs = 0): Promise<Diagnosis> {
    const step = Math.max(0, Math.floor(sinceMs / RANGE_STEP_MS))
    const known = this.#known.get(step)
    if (known && this.#isFresh(known)) return known.answer
    const version = this.#recorder.version()
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

  #isFresh({ version, freshUntil }: Known): boolean {
    return freshUntil === undefined || performance.now() < freshUntil || version === this.#recorder.version()
  }

  async #workOut(sinceMs: number): Promise<{ diagnosis: Diagnosis; tookMs: number }> {
    const usage = process.cpuUsage()
    const { events, gaps } = await this.#recorder.events({ sinceMs })
    const diagnosis = await diagnoseInTurns(events, gaps)
    const { user, system } = process.cpuUsage(usage)
    return { diagnosis, tookMs: (user + system) / 1_000 }
  }

  #keep(step: number, entry: Known): void {
    this.#known.delete(step)
    this.#known.set(step, entry)
    const [oldest] = this.#known.keys()
    if (this.#known.size > MOST_RANGES && oldest !== undefined) this.#known.delete(oldest)
  }
}
