import type { SpanRange } from '../events/recorded-spans.ts'
import { type Diagnosis, diagnoseInTurns } from './diagnose.ts'
import type { EvidenceReading, PlainSpan } from './evidence.ts'

/** What a running diagnosis looks at. */
export interface DiagnosedRecorder {
  /** Changes with every span that is recorded. */
  readonly version: () => unknown
  /** A copy of the spans of a range, and what is missing in it. */
  readonly spans: (range: SpanRange) => Promise<{ readonly spans: Iterable<PlainSpan>; readonly gaps?: EvidenceReading['gaps'] }>
}

/** A diagnosis is good for so long, in ms, whatever is recorded meanwhile. */
const FRESH_MS = 2_000
/** And for so many times of what it took: diagnosing takes a bounded share of the processor. */
const FRESH_FOR_COST = 20
/** A beginning is moved back to one of these steps, so that callers that ask a moment apart share an answer. */
const RANGE_STEP_MS = 60_000
/** Ranges whose answers are kept. */
const MOST_RANGES = 8

interface Known {
  readonly version: unknown
  readonly answer: Promise<Diagnosis>
  /** `performance.now()` until which the answer is good; absent while it is worked out. */
  freshUntil?: number
}

/**
 * What `diagnose` says of the recorder of a process that serves others: worked out in turns, one range at a time, and shared by all
 * who ask while it is worked out or fresh.
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
    const { spans, gaps } = await this.#recorder.spans({ sinceMs })
    const diagnosis = await diagnoseInTurns(spans, gaps)
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
