import { clearTimeout, setTimeout } from 'node:timers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ATTR_OUTCOME } from '../../otel/semconv.ts'
import type { ProcessRole } from '../domain/enums.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import type { FinishedSpan, FinishedSpanProcessor } from '../telemetry/finished-span.ts'
import type { OnDropped } from '../telemetry/redaction-processor.ts'
import { atExit } from '../tools/run-guarded.ts'
import { EventStore } from './event-store.ts'
import { isOwnRefresh } from './keep-policy.ts'
import { knownProcess, processRow } from './process-row.ts'
import { isLasting, recorderFailure } from './recorder-failure.ts'
import { RecorderThread } from './recorder-thread.ts'
import { type RetentionOptions, retentionOf } from './retention.ts'
import { tableOf, writtenSpanOrNothing } from './span-columns.ts'
import { SpanEvents } from './span-events.ts'
import { rowOf, type SpanRow } from './span-row.ts'
import { SpanWriter } from './span-writer.ts'
import { pauseAfter } from './write-pause.ts'

export interface DiskRecorderOptions extends RetentionOptions {
  /** The state folder; made with mode 0700 when it is not there. */
  folder: string
  /** What the process is to the profiles it uses. @default 'unknown' */
  processRole?: ProcessRole
  /** What to call the process. @default the base name of its script */
  title?: string
  /** Longest time a span waits in memory, in ms: what a SIGKILL can cost. @default 200 */
  batchMs?: number
  /** Spans that wait at most; only interesting ones take the second half of the room. @default 10_000 */
  mostWaiting?: number
  /** Pause after the file could not be written, in ms. @default 5_000 */
  retryMs?: number
  /**
   * Who writes. `preferred`: a thread, else the main thread in batches; for a program that may be part of another one.
   * `required`: a thread, else nothing is written before the process exits; for a watched host, whose event loop no wait of
   * SQLite may hold up. `never`: the main thread in batches, for a program of our own that is done in a moment.
   *
   * @default 'preferred'
   */
  thread?: 'preferred' | 'required' | 'never'
  /**
   * How a refresh that failed is written, since nothing but this process knows of it and the next SIGKILL ends that.
   * `at_once`: before `onEnd` returns, on this thread; for a gateway of our own, where such a write is rare and takes less than
   * a request. `soon`: handed to the thread in place of waiting for the batch.
   *
   * @default 'soon'
   */
  failedRefreshes?: 'at_once' | 'soon'
  /** Notified of every span that is not recorded. */
  onDropped?: OnDropped
  /** Reported once when the file cannot be used, and again when that happens after it could. */
  onFailure?: (error: GatewayError) => void
  /** Takes a line, once, where a thread is required and none can be had. */
  onNotice?: (line: string) => void
}

export const DISK_DEFAULTS = { batchMs: 200, mostWaiting: 10_000, retryMs: 5_000 } as const

/** Spans of one transaction, and of one message to the thread. */
const ROWS_AT_ONCE = 100
/** The thread ends when it had nothing to write for so long, in ms. */
const IDLE_MS = 10_000
/** Threads that end before they have written anything, one after the other: then there is none to be had. */
const MOST_THREAD_FAULTS = 3
/** Longest time `flush` waits for other processes. */
const FLUSH_MS = 5_000
/** Longest time an ending process stands still for other processes. */
const LAST_WRITE_MS = 2_000
/** Longest time a process stands still for other processes to write what must not wait. */
const AT_ONCE_MS = 50

/**
 * Keeps finished spans in `recorder.sqlite` of the state folder, together with those of every other process there.
 *
 * A span costs its caller a place in a queue; a thread of ours, started with the first batch, writes it. Nothing here holds
 * the process or throws: a file that cannot be used is reported once, its spans are counted as dropped, and the host goes on.
 * A process that ends by itself, by `process.exit` or by an exception loses nothing: what is not written by then is written
 * synchronously. One that is killed by a signal it does not handle loses at most the last `batchMs` and the batch on its way.
 * Must stand behind `RedactingSpanProcessor`: it keeps what it gets.
 */
export class DiskRecorder implements FinishedSpanProcessor {
  readonly #options: Required<Pick<DiskRecorderOptions, keyof typeof DISK_DEFAULTS>> & DiskRecorderOptions
  /** The store of events, written beside the recorder until all commands read it: the ops page does. */
  readonly #store: EventStore
  readonly #events: SpanEvents
  /** Of the main thread. */
  readonly #writer: SpanWriter
  readonly #thread: RecorderThread
  #threadFaults = 0
  /** Nothing is written before the process exits. */
  #isHeldBack = false
  #waiting: SpanRow[] = []
  /** Of those that wait, the first ones are on their way to the thread, and the drops that were said with them. */
  #inFlight: { readonly count: number; readonly unsaid: number } | undefined
  #idle: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #draining: Promise<void> | undefined
  #failure: GatewayError | undefined
  #closed = false
  #isClosing = false
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
    const kept = retentionOf(Object.fromEntries(Object.entries(bounds).filter(([, value]) => value !== undefined)))
    const self = knownProcess(processRole, title)
    this.#writer = new SpanWriter(folder, () => processRow(self), kept)
    this.#thread = new RecorderThread({ folder, self, bounds: kept })
    const { batchMs, thread, failedRefreshes } = options
    const how = { ...(batchMs !== undefined && { batchMs }), ...(thread && { thread }), ...(failedRefreshes && { failedRefreshes }) }
    this.#store = new EventStore({ folder, processRole, ...(title !== undefined && { title }), ...how })
    this.#events = new SpanEvents(this.#store)
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

  onEnd(span: FinishedSpan): void {
    this.#events.onEnd(span)
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
    if (!isOwnRefresh(row)) return
    if (isTrouble(row) && this.#options.failedRefreshes === 'at_once') this.#writeLast(AT_ONCE_MS)
    this.hurry()
  }

  /** Begins to write what waits, without waiting for it or holding the process. */
  hurry(): void {
    this.#store.hurry()
    if (!this.#isOver() && this.#waiting.length > 0) void this.#drain()
  }

  /** Writes what waits. Never rejects, never waits longer than five seconds; what could not be written waits on. */
  async flush(): Promise<void> {
    await Promise.all([this.#store.flush(), this.#flushRecorder()])
  }

  async #flushRecorder(): Promise<void> {
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
    this.#store.writeNow()
    this.#writeLast(LAST_WRITE_MS)
  }

  /** Writes what waits and closes the file; what could not be written is dropped. */
  async shutdown(): Promise<void> {
    if (this.#closed) return
    this.#isClosing = true
    await this.flush()
    const threadsEnded = [this.#thread.end(), this.#store.shutdown()]
    this.#end()
    await Promise.all(threadsEnded)
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
    clearTimeout(this.#idle)
    while (this.#waiting.length > 0 && !this.#isOver() && !this.#isHeldBack) {
      const goesOn = this.#mayStartThread() ? await this.#drainByThread() : await this.#drainHere()
      if (!goesOn) return
    }
    if (this.#thread.isRunning && !this.#isOver()) this.#idle = setTimeout(() => this.#thread.dismiss(), IDLE_MS).unref()
  }

  /** A program that shuts down at once has no use for a thread. */
  #mayStartThread(): boolean {
    if (this.#thread.isRunning) return true
    return this.#options.thread !== 'never' && this.#threadFaults < MOST_THREAD_FAULTS && !this.#isClosing
  }

  /** @returns Says whether to go on with what waits. */
  async #drainByThread(): Promise<boolean> {
    const batch = this.#waiting.slice(0, ROWS_AT_ONCE)
    const unsaid = this.#unsaidDrops
    this.#inFlight = { count: batch.length, unsaid }
    const end = await this.#thread.write(batch, unsaid)
    if (end.type === 'taken_back') return false
    this.#inFlight = undefined
    switch (end.type) {
      case 'written':
        this.#threadFaults = 0
        this.#written(batch.length, unsaid, end.unwritable)
        return true
      case 'failed':
        this.#fail(end.failure)
        return false
      case 'no_thread':
        this.#threadFaults += 1
        if (this.#threadFaults === MOST_THREAD_FAULTS && this.#options.thread === 'required') this.#holdBack(end.fault)
        return true
    }
  }

  #holdBack(fault: unknown): void {
    this.#isHeldBack = true
    const { code } = (fault ?? {}) as { code?: unknown }
    const why = typeof code === 'string' ? ` (${code})` : ''
    report(() => this.#options.onNotice?.(`no thread can be started here${why}: what is seen is recorded when the process ends`))
  }

  /** @returns Says whether to go on with what waits. */
  async #drainHere(): Promise<boolean> {
    for (let tries = 0; ; tries += 1) {
      const result = this.#write(this.#waiting.slice(0, ROWS_AT_ONCE), 0)
      if (result === 'failed' || this.#isOver()) return false
      if (result === 'written') {
        await nextTurn()
        return true
      }
      await pause(pauseAfter(tries))
    }
  }

  /** Writes the first rows that wait, on this thread. */
  #write(batch: readonly SpanRow[], waitMs: number): 'written' | 'busy' | 'failed' {
    const spans = batch.map(writtenSpanOrNothing)
    const whole = spans.filter(span => span !== undefined)
    const unsaid = this.#unsaidDrops
    try {
      if (!this.#writer.tryWrite(whole, unsaid, waitMs)) return 'busy'
    } catch (error) {
      this.#fail(error)
      return 'failed'
    }
    this.#written(batch.length, unsaid, spans.length - whole.length)
    return 'written'
  }

  /** The first rows that wait are in the file, but for those that cannot be. */
  #written(count: number, unsaid: number, unwritable: number): void {
    this.#failure = undefined
    this.#unsaidDrops -= unsaid
    this.#waiting.splice(0, count)
    this.#drop(unwritable)
  }

  /** The process may end after any turn: what the thread has not written by now is written here. */
  #writeLast(waitMs: number): void {
    if (this.#isOver()) return
    const sent = this.#inFlight
    this.#inFlight = undefined
    if (sent && this.#thread.takeBack(waitMs)) this.#written(sent.count, sent.unsaid, 0)
    if (this.#waiting.length > 0) this.#write(this.#waiting.slice(), waitMs)
    this.#thread.giveBack()
  }

  #fail(cause: unknown): void {
    const isNew = this.#failure === undefined
    const failure = recorderFailure(this.#writer.path, cause)
    this.#failure = failure
    if (isNew) report(() => this.#options.onFailure?.(failure))
    if (isLasting(this.#failure)) this.#end()
    else this.#wake(this.#options.retryMs)
  }

  #end(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#idle)
    this.#forgetExit?.()
    this.#thread.dismiss()
    this.#writer.close()
    const { length } = this.#waiting
    this.#waiting = []
    this.#drop(length)
  }

  #drop(count: number): void {
    if (count === 0) return
    this.#dropped += count
    this.#unsaidDrops += count
    report(() => this.#options.onDropped?.('recorder', count))
  }
}

/** The refresh brought no token, or one that no file holds. */
function isTrouble({ status, attributes }: SpanRow): boolean {
  return status === 'error' || attributes[ATTR_OUTCOME] === 'not_persisted'
}

/** The recorder of a folder, if one is named. */
export function diskRecorders(folder: string | undefined, options: Omit<DiskRecorderOptions, 'folder'>): readonly DiskRecorder[] {
  return folder === undefined ? [] : [new DiskRecorder({ ...options, folder })]
}

/** A listener that throws must not cost the host its life: we may be on a timer of our own. */
function report(listener: () => void): void {
  try {
    listener()
  } catch {
    // It was reported.
  }
}

function pause(waitMs: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, waitMs).unref()
  })
}
