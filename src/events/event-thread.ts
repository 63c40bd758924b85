import type { Worker } from 'node:worker_threads'
import { GatewayError, type GatewayErrorCode, type NextStep } from '../domain/gateway-error.ts'
import { startQuietThread } from '../tools/quiet-thread.ts'
import { eventStoreFailure } from './event-failure.ts'
import type { EventRetentionOptions } from './event-retention.ts'
import type { KnownProcess } from './process-row.ts'
import type { WaitingItem } from './waiting-item.ts'
import { WriteTurn } from './write-turn.ts'

/** What the thread is started with. */
export interface EventThreadData {
  readonly shared: SharedArrayBuffer
  /** The state folder; a store in memory without one. */
  readonly folder: string | undefined
  readonly self: KnownProcess
  readonly bounds: Required<EventRetentionOptions>
}

/** Items on their way to the thread; one batch at a time. */
export interface BatchMessage {
  readonly type: 'batch'
  readonly number: number
  readonly items: readonly WaitingItem[]
  /** Events that could not be recorded since the batch before. */
  readonly dropped: number
  readonly exports: boolean
}

/** How a query is answered: by a copy of the value, or by its JSON in UTF-8, which the thread hands over without a copy. */
export type AnswerForm = 'value' | 'json'

/** A query on its way to the thread. */
export interface QueryMessage {
  readonly type: 'query'
  readonly number: number
  readonly name: string
  readonly args: unknown
  readonly form: AnswerForm
}

/** What the thread answers to a batch. */
export interface BatchReply {
  readonly type: 'batch'
  readonly number: number
  /** Items that cannot be written at all. */
  readonly unwritable: number
  readonly failure?: FailureMessage
  /** Set where the thread writes to a file of its own beside that of a later Gatewatch. */
  readonly besideNewer?: FailureMessage
}

/** What the thread answers to a query. */
export interface QueryReply {
  readonly type: 'answer'
  readonly number: number
  readonly value?: unknown
  readonly failure?: FailureMessage
}

/** A `GatewayError`: the class of an error does not survive the way between threads. */
export interface FailureMessage {
  readonly code: GatewayErrorCode
  readonly message: string
  readonly next: NextStep
  /** Message of its cause. */
  readonly why: string | undefined
}

/** How a batch ended: written, not written, without a thread that could, or taken back by a process that exits. */
export type BatchOutcome =
  | { readonly type: 'written'; readonly unwritable: number; readonly besideNewer: GatewayError | undefined }
  | { readonly type: 'failed'; readonly failure: GatewayError }
  | { readonly type: 'no_thread'; readonly fault: unknown }
  | { readonly type: 'taken_back' }

/** A query whose thread ended before it answered, or was never there. */
export class NoThreadError extends Error {}

/** Longest wait for the thread to close its file, in ms. */
const END_MS = 2_000
const MOST_HEAP_MIB = 256

/** A query that is not answered yet. */
interface PendingQuery {
  readonly thread: Worker
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** The thread that writes and reads, as its process sees it. Started with the first batch or query. */
export class EventThread {
  readonly #data: EventThreadData
  readonly #turn = new WriteTurn()
  readonly #onLost: () => void
  readonly #queries = new Map<number, PendingQuery>()
  #thread: Worker | undefined
  #numbers = 0
  #batches = 0
  #inFlight: { readonly number: number; readonly end: (end: BatchOutcome) => void; leftOut: number } | undefined
  #hasTurn = false

  /** @param onLost Called when the thread ended by a fault. */
  constructor(data: Omit<EventThreadData, 'shared'>, onLost: () => void) {
    this.#data = { ...data, shared: this.#turn.shared }
    this.#onLost = onLost
  }

  /** The thread runs, or begins to. */
  get isRunning(): boolean {
    return this.#thread !== undefined
  }

  /** Has a batch written; the one before must have ended. Never rejects. */
  write(items: readonly WaitingItem[], { dropped, exports }: Pick<BatchMessage, 'dropped' | 'exports'>): Promise<BatchOutcome> {
    this.#batches += 1
    const number = this.#batches
    return new Promise(end => {
      const batch = { number, end, leftOut: 0 }
      this.#inFlight = batch
      try {
        this.#thread ??= this.#start()
        batch.leftOut = post(this.#thread, { type: 'batch', number, items, dropped, exports })
      } catch (fault) {
        this.#endBatch({ type: 'no_thread', fault })
      }
    })
  }

  /** Has a query answered. @throws {NoThreadError} and what the query throws. */
  query(name: string, args: unknown, form: AnswerForm): Promise<unknown> {
    this.#numbers += 1
    const number = this.#numbers
    return new Promise((resolve, reject) => {
      try {
        this.#thread ??= this.#start()
        this.#queries.set(number, { thread: this.#thread, resolve, reject })
        // The thread holds no process by itself; a caller that waits for an answer must be held.
        this.#thread.ref()
        this.#thread.postMessage({ type: 'query', number, name, args, form } satisfies QueryMessage)
      } catch (cause) {
        this.#settleQuery(number)
        reject(new NoThreadError('no thread can be started', { cause }))
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

  /** Closes the store and ends the thread once it has answered what it was asked, without waiting for either. */
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
    const thread = startQuietThread('events/event-worker', {
      data: this.#data,
      mostHeapMiB: MOST_HEAP_MIB,
      onMessage: message => this.#answered(message as BatchReply | QueryReply),
      onEnd: fault => this.#ended(thread, fault),
    })
    return thread
  }

  #ended(thread: Worker, fault: unknown): void {
    for (const [number, query] of this.#queries)
      if (query.thread === thread) {
        this.#settleQuery(number)
        query.reject(new NoThreadError('the thread of the event store ended', { cause: fault }))
      }
    if (this.#thread !== thread) return
    this.#thread = undefined
    this.#onLost()
    this.#endBatch({ type: 'no_thread', fault })
  }

  #answered(message: BatchReply | QueryReply): void {
    if (message.type === 'answer') {
      const query = this.#settleQuery(message.number)
      if (message.failure) query?.reject(errorOf(message.failure))
      else query?.resolve(message.value)
      return
    }
    const { number, unwritable, failure, besideNewer } = message
    if (this.#inFlight?.number !== number) return
    if (failure) this.#endBatch({ type: 'failed', failure: errorOf(failure) })
    else
      this.#endBatch({
        type: 'written',
        unwritable: unwritable + this.#inFlight.leftOut,
        besideNewer: besideNewer && errorOf(besideNewer),
      })
  }

  #settleQuery(number: number): PendingQuery | undefined {
    const query = this.#queries.get(number)
    this.#queries.delete(number)
    if (query && ![...this.#queries.values()].some(({ thread }) => thread === query.thread)) query.thread.unref()
    return query
  }

  #endBatch(end: BatchOutcome): void {
    const batch = this.#inFlight
    this.#inFlight = undefined
    batch?.end(end)
  }
}

/** An error on its way between threads. @param path Of the store that it is about, for what SQLite throws. */
export function failureMessage(path: string, cause: unknown): FailureMessage {
  const { code, message, next, cause: why } = eventStoreFailure(path, cause)
  return { code, message, next, why: why instanceof Error ? why.message : undefined }
}

function errorOf({ code, message, next, why }: FailureMessage): GatewayError {
  return new GatewayError(code, message, { next, ...(why !== undefined && { cause: new Error(why) }) })
}

/** @returns Items that were left out: those that no message can hold must not keep the others waiting. */
function post(thread: Worker, batch: BatchMessage): number {
  try {
    thread.postMessage(batch)
    return 0
  } catch {
    const items = batch.items.filter(isSendable)
    thread.postMessage({ ...batch, items })
    return batch.items.length - items.length
  }
}

function isSendable(item: WaitingItem): boolean {
  try {
    structuredClone(item)
    return true
  } catch {
    return false
  }
}
