import type { Worker } from 'node:worker_threads'
import { GatewayError, type GatewayErrorCode, type NextStep } from '../domain/gateway-error.ts'
import { startQuietThread } from '../tools/quiet-thread.ts'
import type { KnownProcess } from './process-row.ts'
import type { RetentionOptions } from './retention.ts'
import type { SpanRow } from './span-row.ts'
import { WriteTurn } from './write-turn.ts'

/** What the thread is started with. */
export interface RecorderThreadData {
  readonly shared: SharedArrayBuffer
  readonly folder: string
  readonly self: KnownProcess
  readonly bounds: Required<RetentionOptions>
}

/** Spans on their way to the thread; one batch at a time. */
export interface Batch {
  readonly number: number
  readonly rows: readonly SpanRow[]
  /** Spans that could not be recorded since the batch before. */
  readonly dropped: number
}

/** What the thread says of a batch. */
export interface BatchAnswer {
  readonly number: number
  /** Rows that cannot be written at all. */
  readonly unwritable?: number
  readonly failure?: BatchFailure
}

/** A `GatewayError`: the class of an error does not survive the way between threads. */
export interface BatchFailure {
  readonly code: GatewayErrorCode
  readonly message: string
  readonly next: NextStep
  /** Message of its cause. */
  readonly why: string | undefined
}

/** How a batch ended: written, not written, without a thread that could, or taken back by a process that exits. */
export type BatchEnd =
  | { readonly type: 'written'; readonly unwritable: number }
  | { readonly type: 'failed'; readonly failure: GatewayError }
  | { readonly type: 'no_thread'; readonly fault: unknown }
  | { readonly type: 'taken_back' }

/** Longest wait for the thread to close its file, in ms. */
const END_MS = 2_000
const MOST_HEAP_MIB = 128

/** The thread that writes, as its process sees it. Started with the first batch. */
export class RecorderThread {
  readonly #data: RecorderThreadData
  readonly #turn = new WriteTurn()
  #thread: Worker | undefined
  #batches = 0
  #inFlight: { readonly number: number; readonly end: (end: BatchEnd) => void; leftOut: number } | undefined
  #hasTurn = false

  constructor(data: Omit<RecorderThreadData, 'shared'>) {
    this.#data = { ...data, shared: this.#turn.shared }
  }

  /** The thread runs, or begins to. */
  get isRunning(): boolean {
    return this.#thread !== undefined
  }

  /** Has a batch written; the one before must have ended. Never rejects. */
  write(rows: readonly SpanRow[], dropped: number): Promise<BatchEnd> {
    this.#batches += 1
    const number = this.#batches
    return new Promise(end => {
      const batch = { number, end, leftOut: 0 }
      this.#inFlight = batch
      try {
        this.#thread ??= this.#start()
        batch.leftOut = post(this.#thread, { number, rows, dropped })
      } catch (fault) {
        this.#endBatch({ type: 'no_thread', fault })
      }
    })
  }

  /**
   * Takes the batch that is under way from the thread, which writes nothing until `giveBack`; blocks while the thread is
   * at it. For a process that exits within this turn.
   *
   * @returns Says whether the thread has written that batch, or is still at it after `waitMs`.
   */
  takeBack(waitMs: number): boolean {
    const batch = this.#inFlight
    if (!this.#thread || !batch) return false
    this.#hasTurn = this.#turn.take(waitMs)
    const isWritten = !this.#hasTurn || this.#turn.settled >= batch.number
    if (this.#hasTurn) this.#turn.settle(batch.number)
    this.#endBatch({ type: 'taken_back' })
    return isWritten
  }

  /** Lets the thread go on. */
  giveBack(): void {
    if (this.#hasTurn) this.#turn.release()
    this.#hasTurn = false
  }

  /** Closes the file and ends the thread, without waiting for either. */
  dismiss(): void {
    const thread = this.#thread
    this.#thread = undefined
    thread?.postMessage('end')
  }

  /** As `dismiss`; resolves when it has ended. */
  async end(): Promise<void> {
    const thread = this.#thread
    if (!thread) return
    let timer: NodeJS.Timeout | undefined
    const isEnded = new Promise<void>(resolve => {
      thread.once('exit', () => resolve())
      // Holds the process: the thread does not, and a caller waits for us.
      timer = setTimeout(resolve, END_MS)
    })
    this.dismiss()
    await isEnded
    clearTimeout(timer)
  }

  #start(): Worker {
    const thread = startQuietThread('events/recorder-worker', {
      data: this.#data,
      mostHeapMiB: MOST_HEAP_MIB,
      onMessage: message => this.#answered(message as BatchAnswer),
      onEnd: fault => {
        if (this.#thread !== thread) return
        this.#thread = undefined
        this.#endBatch({ type: 'no_thread', fault })
      },
    })
    return thread
  }

  #answered({ number, unwritable = 0, failure }: BatchAnswer): void {
    if (this.#inFlight?.number !== number) return
    if (!failure) {
      this.#endBatch({ type: 'written', unwritable: unwritable + this.#inFlight.leftOut })
      return
    }
    const { code, message, next, why } = failure
    this.#endBatch({
      type: 'failed',
      failure: new GatewayError(code, message, { next, ...(why !== undefined && { cause: new Error(why) }) }),
    })
  }

  #endBatch(end: BatchEnd): void {
    const batch = this.#inFlight
    this.#inFlight = undefined
    batch?.end(end)
  }
}

/** @returns Rows that were left out: those that no message can hold must not keep the others waiting. */
function post(thread: Worker, batch: Batch): number {
  try {
    thread.postMessage(batch)
    return 0
  } catch {
    const rows = batch.rows.filter(isSendable)
    thread.postMessage({ ...batch, rows })
    return batch.rows.length - rows.length
  }
}

function isSendable(row: SpanRow): boolean {
  try {
    structuredClone(row)
    return true
  } catch {
    return false
  }
}
