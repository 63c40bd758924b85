import { clearTimeout, setTimeout } from 'node:timers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { eventsOf } from '../diagnose/evidence-source.ts'
import { RunningDiagnosis } from '../diagnose/running-diagnosis.ts'
import type { GatewatchEvent } from '../domain/events.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { readRecords } from '../events/disk-records.ts'
import type { ReadingGaps, RecordedSpans } from '../events/recorded-spans.ts'
import { SPAN_TABLES, type SpanTable } from '../events/recorder-schema.ts'
import type { SpanRow } from '../events/span-row.ts'
import type { Feed, OpsDataSource } from './data-source.ts'

export interface RecorderSourceOptions {
  readonly folder: string
  readonly version: string
  /** Pause between two looks at the folder, in ms. @default 500 */
  everyMs?: number
}

export const RECORDER_SOURCE_DEFAULTS = { everyMs: 500 } as const

/** Rows read in one go: other requests wait for so long. */
const ROWS_AT_ONCE = 4_000
/** Spans `diagnose` looks at for the page; the command looks at all of them. */
const MOST_EVIDENCE = 20_000
/** Of those, read in one go. */
const EVIDENCE_AT_ONCE = 1_000
const NOTHING: RecordedSpans = {
  gaps: { unreadable: 0, leftOut: 0 },
  refreshSpans: () => [],
  spans: () => [],
  spansOf: () => [],
  repeatedSends: () => [],
  refreshCounts: () => [],
  acquisitionCounts: () => [],
  fallbackCounts: () => [],
}

/** The state folder of watched processes. A folder that holds nothing yet is shown as that, and looked at again. */
export function recorderSource({ folder, version, everyMs = RECORDER_SOURCE_DEFAULTS.everyMs }: RecorderSourceOptions): OpsDataSource {
  const diagnosis = new RunningDiagnosis({ version: () => marksOf(folder), events: () => newestEvents(folder) })
  return {
    ...{ kind: 'folder', title: folder, version, canProbe: false },
    read(query) {
      try {
        return readRecords(folder, query)
      } catch (error) {
        if (isGatewayError(error, 'GW_CONFIG')) return query(NOTHING)
        throw error
      }
    },
    feed: add => new FolderFeed(folder, everyMs, add),
    findings: async () => (await diagnosis.of()).findings,
  }
}

/** Reads on where it left off, a piece at a time, so that a large file delays no request. */
class FolderFeed implements Feed {
  readonly #folder: string
  readonly #everyMs: number
  readonly #add: (span: SpanRow) => void
  readonly #marks: Record<SpanTable, number> = { interesting: 0, ordinary: 0 }
  #timer: NodeJS.Timeout
  #stopped = false
  read = 0
  trouble: string | undefined
  unreadable = 0

  constructor(folder: string, everyMs: number, add: (span: SpanRow) => void) {
    this.#folder = folder
    this.#everyMs = everyMs
    this.#add = add
    this.#timer = setTimeout(() => this.#look(), 0)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #look(): void {
    let isBehind = false
    try {
      isBehind = readRecords(this.#folder, records => {
        let left = 0
        let all = 0
        for (const table of SPAN_TABLES) {
          const { first, last } = records.extentOf(table)
          // A file that was removed and begun again counts from the start.
          if (last < this.#marks[table]) this.#marks[table] = 0
          const { spans, mark } = records.spansAfter(table, this.#marks[table], ROWS_AT_ONCE)
          for (const span of spans) this.#add(span)
          this.#marks[table] = mark
          all += last - first
          left += Math.max(0, last - Math.max(mark, first))
        }
        this.unreadable += records.gaps.unreadable
        this.read = all === 0 ? 1 : 1 - left / Math.max(1, all)
        return left > 0
      })
      this.trouble = undefined
    } catch (error) {
      this.read = 1
      this.trouble = error instanceof Error ? error.message : 'the recorder file cannot be read'
    }
    if (!this.#stopped) this.#timer = setTimeout(() => this.#look(), isBehind ? 0 : this.#everyMs)
  }
}

/** The newest events, read a piece at a time. */
async function newestEvents(folder: string): Promise<{ events: Iterable<GatewatchEvent>; gaps: () => ReadingGaps }> {
  const spans: SpanRow[] = []
  let unreadable = 0
  let leftOut = 0
  for (const table of SPAN_TABLES) {
    const { first, last } = extentIn(folder, table)
    const before = Math.max(first - 1, last - MOST_EVIDENCE / SPAN_TABLES.length)
    leftOut += Math.max(0, before - first + 1)
    for (let mark = before; mark < last; ) {
      const piece = readRecords(folder, records => ({ ...records.spansAfter(table, mark, EVIDENCE_AT_ONCE), gaps: records.gaps }))
      if (piece.mark <= mark) break
      for (const span of piece.spans) spans.push(span)
      unreadable += piece.gaps.unreadable
      mark = piece.mark
      await nextTurn()
    }
  }
  return { events: eventsOf(spans), gaps: () => ({ unreadable, leftOut }) }
}

/** What was written so far. */
function marksOf(folder: string): string {
  try {
    return SPAN_TABLES.map(table => extentIn(folder, table).last).join(' ')
  } catch {
    // The reading itself says what is wrong.
    return 'unreadable'
  }
}

function extentIn(folder: string, table: SpanTable): { first: number; last: number } {
  try {
    return readRecords(folder, records => records.extentOf(table))
  } catch (error) {
    if (isGatewayError(error, 'GW_CONFIG')) return { first: 0, last: 0 }
    throw error
  }
}
