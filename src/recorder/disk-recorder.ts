import { clearTimeout, setTimeout } from 'node:timers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace'
import type { ProcessRole } from '../../otel/words.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import type { OnDropped } from '../telemetry/redaction.ts'
import { atExit } from '../tools/at-exit.ts'
import { thisProcessRow } from './process-row.ts'
import { isLasting, recorderFailure } from './recorder-failure.ts'
import { type RetentionOptions, retentionOf } from './retention.ts'
import { tableOf, type WrittenSpan, writtenSpan } from './span-columns.ts'
import { rowOf, type SpanRow } from './span-row.ts'
import { SpanWriter } from './span-writer.ts'

export interface DiskRecorderOptions extends RetentionOptions {
  /** The state folder; made with mode 0700 when it is not there. */
  folder: string
  /** What the process is to the profiles it uses. @default 'unknown' */
  processRole?: ProcessRole
  /** What to call the process. @default the base name of its script */
  title?: string
  /** Longest time a span waits in memory, in ms: what a SIGKILL can cost. @default 200 */
  batchMs?: number
  /** Spans that wait at the most; only interesting ones take the second half of the room. @default 10_000 */
  mostWaiting?: number
  /** Pause after the file could not be written, in ms. @default 5_000 */
  retryMs?: number
  /** Told of every span that is not recorded. */
  onDropped?: OnDropped
  /** Told once when the file cannot be used, and again when that happens after it could. */
  onFailure?: (error: GatewayError) => void
}

export const DISK_DEFAULTS = { batchMs: 200, mostWaiting: 10_000, retryMs: 5_000 } as const

/** Spans of one transaction: the event loop stands still for so long. */
const ROWS_AT_ONCE = 100
const SHORTEST_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 25
/** Longest time `flush` waits for other processes. */
const FLUSH_MS = 5_000
/** Longest time an ending process stands still for other processes. */
const LAST_WRITE_MS = 2_000

/**
 * Keeps finished spans in `recorder.sqlite` of the state folder, together with those of every other process there.
 *
 * A span costs its caller a place in a queue; it is written in batches on later turns. Nothing here holds the process
 * or throws: a file that cannot be used is reported once, its spans are counted as dropped, and the host goes on.
 * A process that ends by itself, by `process.exit` or by an exception loses nothing; one that is killed by a signal it
 * does not handle loses at most the last `batchMs`. Must stand behind `RedactingSpanProcessor`: it keeps what it gets.
 */
export class DiskRecorder implements SpanProcessor {
  readonly #options: Required<Pick<DiskRecorderOptions, keyof typeof DISK_DEFAULTS>> & DiskRecorderOptions
  readonly #writer: SpanWriter
  #waiting: SpanRow[] = []
  #timer: NodeJS.Timeout | undefined
  #draining: Promise<void> | undefined
  #failure: GatewayError | undefined
  #closed = false
  /** Set from the first span on. */
  #forgetExit: (() => void) | undefined
  #dropped = 0
  /** Drops that the file does not know of yet. */
  #unsaidDrops = 0

  /** Touches no file and no process event. @throws {RangeError} if a bound is not a positive whole number. */
  constructor(options: DiskRecorderOptions) {
    const { folder, processRole, title, mostInteresting, mostOrdinary, mostAgeMs, mostBytes } = options
    this.#options = { ...DISK_DEFAULTS, ...options }
    const bounds = { mostInteresting, mostOrdinary, mostAgeMs, mostBytes }
    const given = Object.fromEntries(Object.entries(bounds).filter(([, value]) => value !== undefined))
    this.#writer = new SpanWriter(folder, thisProcessRow(processRole, title), retentionOf(given))
  }

  /** Where the spans go. */
  get path(): string {
    return this.#writer.path
  }

  /** Why nothing is written at the moment, if so. */
  get failure(): GatewayError | undefined {
    return this.#failure
  }

  /** Spans that were not recorded. */
  get dropped(): number {
    return this.#dropped
  }

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: ReadableSpan): void {
    if (this.#isOver()) {
      this.#drop(1)
      return
    }
    const row = rowOf(span)
    const { mostWaiting, batchMs } = this.#options
    const room = tableOf(row) === 'interesting' ? mostWaiting : mostWaiting / 2
    if (this.#waiting.length >= room) {
      this.#drop(1)
      return
    }
    this.#waiting.push(row)
    this.#forgetExit ??= atExit(() => {
      this.#writeLast(LAST_WRITE_MS)
      this.#end()
    })
    this.#wake(batchMs)
  }

  /** Writes what waits. Never rejects, never waits longer than five seconds; what could not be written waits on. */
  async flush(): Promise<void> {
    if (this.#isOver() || this.#waiting.length === 0) return
    let timer: NodeJS.Timeout | undefined
    const timeUp = new Promise<void>(resolve => {
      // The timers of the work itself hold no process; who waits for a flush must be held.
      timer = setTimeout(resolve, FLUSH_MS)
    })
    await Promise.race([this.#drain(), timeUp])
    clearTimeout(timer)
  }

  forceFlush(): Promise<void> {
    return this.flush()
  }

  /** Writes what waits at once, and stands still for other processes; for a process that ends within this turn. */
  writeNow(): void {
    this.#writeLast(LAST_WRITE_MS)
  }

  /** Writes what waits and closes the file; what could not be written is dropped. */
  async shutdown(): Promise<void> {
    if (this.#closed) return
    await this.flush()
    this.#end()
  }

  #isOver(): boolean {
    return this.#closed || (this.#failure !== undefined && isLasting(this.#failure))
  }

  #wake(afterMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#drain()
    }, afterMs).unref()
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#drainAll().finally(() => {
      this.#draining = undefined
    })
    return this.#draining
  }

  async #drainAll(): Promise<void> {
    let pauseMs = SHORTEST_PAUSE_MS
    while (this.#waiting.length > 0 && !this.#isOver()) {
      const batch = this.#waiting.slice(0, ROWS_AT_ONCE)
      const result = this.#write(batch, 0)
      if (result === 'failed') return
      if (result === 'busy') {
        await pause(pauseMs * (0.5 + Math.random()))
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
      } else {
        pauseMs = SHORTEST_PAUSE_MS
        await nextTurn()
      }
    }
  }

  /** Writes the first rows that wait. */
  #write(batch: readonly SpanRow[], waitMs: number): 'written' | 'busy' | 'failed' {
    const spans = batch.map(written)
    const unsaid = this.#unsaidDrops
    try {
      if (!this.#writer.tryWrite(spans.filter(isWritten), unsaid, waitMs)) return 'busy'
    } catch (error) {
      this.#fail(error)
      return 'failed'
    }
    this.#failure = undefined
    this.#unsaidDrops -= unsaid
    this.#waiting.splice(0, batch.length)
    this.#drop(spans.filter(span => !isWritten(span)).length)
    return 'written'
  }

  /** Between two turns no transaction is open: the process may end at any of them. */
  #writeLast(waitMs: number): void {
    if (this.#isOver()) return
    if (this.#waiting.length > 0) this.#write(this.#waiting.slice(), waitMs)
  }

  #fail(cause: unknown): void {
    const isNew = this.#failure === undefined
    const failure = recorderFailure(this.#writer.path, cause)
    this.#failure = failure
    if (isNew) tell(() => this.#options.onFailure?.(failure))
    if (isLasting(this.#failure)) this.#end()
    else this.#wake(this.#options.retryMs)
  }

  #end(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#forgetExit?.()
    this.#writer.close()
    const { length } = this.#waiting
    this.#waiting = []
    this.#drop(length)
  }

  #drop(count: number): void {
    if (count === 0) return
    this.#dropped += count
    this.#unsaidDrops += count
    tell(() => this.#options.onDropped?.('recorder', count))
  }
}

/** The recorder of a folder, if one is named. */
export function diskRecorders(folder: string | undefined, options: Omit<DiskRecorderOptions, 'folder'>): readonly DiskRecorder[] {
  return folder === undefined ? [] : [new DiskRecorder({ ...options, folder })]
}

/** A listener that throws must not cost the host its life: we may be on a timer of our own. */
function tell(listener: () => void): void {
  try {
    listener()
  } catch {
    // It was told.
  }
}

/** A row that cannot be written must not keep the others waiting. */
function written(row: SpanRow): WrittenSpan | undefined {
  try {
    return writtenSpan(row)
  } catch {
    return undefined
  }
}

function isWritten(span: WrittenSpan | undefined): span is WrittenSpan {
  return span !== undefined
}

function pause(waitMs: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, waitMs).unref()
  })
}
