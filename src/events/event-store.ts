import type { DatabaseSync } from 'node:sqlite'
import { clearTimeout, setTimeout } from 'node:timers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DropPlace, ProcessRole } from '../domain/enums.ts'
import type { AcquireEvent, GatewatchEvent } from '../domain/events.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { atExit } from '../tools/run-guarded.ts'
import { settledWithin } from '../tools/time-limit.ts'
import { configEvent, type StartedWith } from './config-event.ts'
import { acquisitionCount, CounterSums } from './event-counters.ts'
import { eventStoreFailure, isLasting, lostMemory } from './event-failure.ts'
import type { EventPiece, EventPlace, EventRange } from './event-reader.ts'
import { type EventRetentionOptions, eventRetentionOf } from './event-retention.ts'
import { type AnswerForm, EventThread, NoThreadError } from './event-thread.ts'
import { EventWriter, writtenBatch } from './event-writer.ts'
import { isOwnRefreshEvent, keepClassOf } from './keep-class.ts'
import { knownProcess, processRow } from './process-row.ts'
import type { EventQueries, EventQueryName } from './queries/queries.ts'
import type { WaitingItem } from './waiting-item.ts'
import { pauseAfter } from './write-pause.ts'

export interface EventStoreOptions extends EventRetentionOptions {
  /** The state folder; made with mode 0700 when it is not there. @default a store in memory, gone with the process */
  folder?: string | undefined
  /** What the process is to the profiles it uses. @default 'unknown' */
  processRole?: ProcessRole | undefined
  /** What to call the process. @default the base name of its script */
  title?: string
  /** Longest time an event waits in memory, in ms: what a SIGKILL can cost. @default 200 */
  batchMs?: number
  /** Events that wait at most; only those of the class `kept` take the second half of the room. @default 10_000 */
  mostWaiting?: number
  /** Pause after the file could not be written, in ms. @default 5_000 */
  retryMs?: number
  /** Longest time `flush`, `shutdown` and a query wait for what is to be written first, in ms. @default 5_000 */
  flushMs?: number
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
   * `at_once`: before `take` returns, on this thread; for a gateway of our own, where such a write is rare and takes less than
   * a request. `soon`: handed to the thread in place of waiting for the batch.
   *
   * @default 'soon'
   */
  failedRefreshes?: 'at_once' | 'soon'
  /** What the process runs with: recorded before its first event. */
  startedWith?: StartedWith
  /** Says whether the process exports to OpenTelemetry itself, so that no later export counts its events again. @default it does not */
  exports?: () => boolean
  /** Notified of every event that is not recorded. */
  onDropped?: (place: DropPlace, count: number) => void
  /** Reported once when the store cannot be used, and again when that happens after it could; and where it is one of a later Gatewatch. */
  onFailure?: (error: GatewayError) => void
  /** Takes a line, once, where a thread is required and none can be had. */
  onNotice?: (line: string) => void
}

export const EVENT_STORE_DEFAULTS = { batchMs: 200, mostWaiting: 10_000, retryMs: 5_000, flushMs: 5_000 } as const

/** Items of one transaction, and of one message to the thread. */
const ITEMS_AT_ONCE = 250
/** The thread of a file ends when it had nothing to do for so long, in ms. */
const IDLE_MS = 10_000
/** Threads that end before they have written anything, one after the other: then there is none to be had. */
const MOST_THREAD_FAULTS = 3
/** Longest time an ending process stands still for other processes. */
const LAST_WRITE_MS = 2_000
/** Longest time a process stands still for other processes to write what must not wait. */
const AT_ONCE_MS = 50

/** Answers queries over recorded events. */
export interface EventSource {
  /** Answers a query of `queries/`, off the main thread where there is another one. @throws {GatewayError} what reading the store throws. */
  query<Name extends EventQueryName>(name: Name, args: Parameters<EventQueries[Name]>[1]): Promise<ReturnType<EventQueries[Name]>>
  /** As `query`: the answer as JSON in UTF-8, for those who only pass it on. A large one costs the main thread neither a copy nor its encoding. */
  queryJson<Name extends EventQueryName>(name: Name, args: Parameters<EventQueries[Name]>[1]): Promise<Uint8Array>
  /** Events of a range, class by class, the newest first, read a piece at a time. @throws {GatewayError} what reading the store throws. */
  events(range?: EventRange): AsyncGenerator<GatewatchEvent>
  /** As `events`, a piece at a time, with what of it could not be read. @throws {GatewayError} what reading the store throws. */
  pieces(range?: EventRange): AsyncGenerator<EventPiece>
  /** Calls `follower` with every event of this process from now on: it must be quick and must not throw. @returns Ends it. */
  follow(follower: (event: GatewatchEvent) => void): () => void
}

/**
 * Keeps events: in `events.sqlite` of the state folder, together with those of every other process there, or in memory.
 *
 * An event costs its caller a place in a queue; a thread of ours, started with the first batch, writes it. Nothing here holds
 * the process or throws: a file that cannot be used is reported once, its events are counted as dropped, and the host goes on.
 * A process that ends by itself, by `process.exit` or by an exception loses nothing: what is not written by then is written
 * synchronously. One that is killed by a signal it does not handle loses at most the last `batchMs` and the batch on its way.
 */
export class EventStore implements EventSource {
  readonly #options: Required<Pick<EventStoreOptions, keyof typeof EVENT_STORE_DEFAULTS>> & EventStoreOptions
  /** Of the main thread. */
  readonly #writer: EventWriter
  readonly #thread: EventThread
  readonly #followers = new Set<(event: GatewatchEvent) => void>()
  readonly #counts = new CounterSums()
  #threadFaults = 0
  /** Nothing is written before the process exits. */
  #isHeldBack = false
  #waiting: WaitingItem[] = []
  /** Of those that wait, the first ones are on their way to the thread, and the drops that were reported with them. */
  #inFlight: { readonly count: number; readonly unreported: number } | undefined
  #idle: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #draining: Promise<void> | undefined
  #failure: GatewayError | undefined
  #isBesideNewer = false
  #hasBegun = false
  #hasWritten = false
  #closed = false
  #isClosing = false
  /** Set from the first event on. */
  #forgetExit: (() => void) | undefined
  #dropped = 0
  /** Drops that the store does not know of yet. */
  #unreportedDrops = 0
  /** Items that are no longer waiting, since the beginning. */
  #settled = 0
  #settledWaiters: { readonly upTo: number; readonly resolve: () => void }[] = []

  /** Touches no file and no process event. @throws {RangeError} if a bound is not a positive whole number. */
  constructor(options: EventStoreOptions = {}) {
    const { folder, processRole, title } = options
    this.#options = { ...EVENT_STORE_DEFAULTS, ...options }
    const bounds = eventRetentionOf(options)
    const self = knownProcess(processRole, title)
    this.#writer = new EventWriter({ folder, self: () => processRow(self), bounds })
    this.#thread = new EventThread({ folder, self, bounds }, () => this.#threadLost())
  }

  /** Where the events go: a file, or `:memory:`. */
  get path(): string {
    return this.#writer.path
  }

  /** Why nothing is written at the moment, if so. */
  get failure(): GatewayError | undefined {
    return this.#failure
  }

  /** Events that are not written yet. */
  get waiting(): number {
    return this.#waiting.filter(({ kind }) => kind !== 'counted').length
  }

  /** Events that were not recorded. */
  get dropped(): number {
    return this.#dropped
  }

  /** Records an event. */
  take(event: GatewatchEvent): void {
    this.#follow(event)
    if (this.#isOver()) {
      this.#drop(1)
      return
    }
    const { mostWaiting, batchMs } = this.#options
    const room = keepClassOf(event) === 'kept' ? mostWaiting : mostWaiting / 2
    if (this.#waiting.length >= room) {
      this.#drop(1)
      return
    }
    this.#waiting.push(event)
    this.#begin(batchMs)
    if (!isOwnRefreshEvent(event)) return
    if (isTrouble(event) && this.#options.failedRefreshes === 'at_once') this.#writeLast(AT_ONCE_MS)
    this.hurry()
  }

  /** Counts an acquisition that is not recorded: the counters are right for all of them. */
  count(event: AcquireEvent): void {
    this.#follow(event)
    if (this.#isOver()) return
    this.#counts.add(acquisitionCount(event))
    this.#begin(this.#options.batchMs)
  }

  follow(follower: (event: GatewatchEvent) => void): () => void {
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }

  async query<Name extends EventQueryName>(name: Name, args: Parameters<EventQueries[Name]>[1]): Promise<ReturnType<EventQueries[Name]>> {
    await this.#written()
    return (await this.#answer(name, args)) as ReturnType<EventQueries[Name]>
  }

  async queryJson<Name extends EventQueryName>(name: Name, args: Parameters<EventQueries[Name]>[1]): Promise<Uint8Array> {
    await this.#written()
    return (await this.#answer(name, args, 'json')) as Uint8Array
  }

  async *events(range: EventRange = {}): AsyncGenerator<GatewatchEvent> {
    for await (const { events } of this.pieces(range)) yield* events
  }

  async *pieces(range: EventRange = {}): AsyncGenerator<EventPiece> {
    await this.#written()
    for (let from: EventPlace | undefined; ; ) {
      const piece = (await this.#answer('eventPiece', { ...range, ...(from && { from }) })) as EventPiece
      yield piece
      if (!piece.next) return
      from = piece.next
    }
  }

  /** Begins to write what waits, without waiting for it or holding the process. */
  hurry(): void {
    if (!this.#isOver() && this.#hasWaiting()) void this.#drain()
  }

  /** Writes what waits. Never rejects, never waits longer than `flushMs`; what could not be written waits on. */
  async flush(): Promise<void> {
    if (this.#isOver() || !this.#hasWaiting()) return
    await settledWithin(this.#drain(), this.#options.flushMs)
  }

  /** Writes what waits at once, and stands still for other processes; for a process that ends within this turn. */
  writeNow(): void {
    this.#writeLast(LAST_WRITE_MS)
  }

  /**
   * Writes what waits and closes the store; a store in memory is gone. What the thread could not write in `flushMs`, because the machine
   * or another process keeps it from it, is written here; what cannot be written here either is dropped.
   */
  async shutdown(): Promise<void> {
    if (this.#closed) return
    this.#isClosing = true
    if (this.#options.folder !== undefined) {
      await this.flush()
      this.writeNow()
    }
    const threadEnded = this.#thread.end()
    this.#end()
    await threadEnded
  }

  #follow(event: GatewatchEvent): void {
    for (const follower of this.#followers) follower(event)
  }

  #begin(batchMs: number): void {
    if (this.#options.startedWith && !this.#hasBegun) this.#waiting.unshift(configEvent(this.#options.startedWith))
    this.#hasBegun = true
    // A store in memory has nothing to write when the process exits.
    if (this.#options.folder !== undefined)
      this.#forgetExit ??= atExit(() => {
        this.writeNow()
        this.#end()
      })
    this.#wake(batchMs)
  }

  #isOver(): boolean {
    return this.#closed || (this.#failure !== undefined && isLasting(this.#failure))
  }

  #hasWaiting(): boolean {
    return this.#waiting.length > 0 || !this.#counts.isEmpty
  }

  #wake(afterMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#drain()
    }, afterMs).unref()
  }

  /** Resolves when what waits now is in the store, or cannot be written. */
  async #written(): Promise<void> {
    if (this.#isOver() || this.#isHeldBack || !this.#hasWaiting()) return
    this.#queueCounts()
    const upTo = this.#settled + this.#waiting.length
    const isSettled = new Promise<void>(resolve => this.#settledWaiters.push({ upTo, resolve }))
    await settledWithin(Promise.race([this.#drain(), isSettled]), this.#options.flushMs)
  }

  async #answer(name: EventQueryName, args: unknown, form: AnswerForm = 'value'): Promise<unknown> {
    clearTimeout(this.#idle)
    const { thread, folder } = this.#options
    if (thread !== 'never' && this.#threadFaults < MOST_THREAD_FAULTS)
      try {
        return await this.#thread.query(name, args, form)
      } catch (error) {
        if (!(error instanceof NoThreadError) || thread === 'required') throw error
      } finally {
        this.#dismissLater()
      }
    // Loaded here alone: a host whose queries a thread answers loads neither.
    const [{ answerQuery, jsonBytes }, { queryEventStore }] = await Promise.all([
      import('./queries/queries.ts'),
      import('./read-events.ts'),
    ])
    const { memory } = this.#writer
    const query = (database: DatabaseSync) => answerQuery(database, name, args)
    const value = memory ? query(memory) : queryEventStore(folder ?? '', query)
    return form === 'json' ? jsonBytes(value) : value
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#drainAll().finally(() => {
      this.#draining = undefined
    })
    return this.#draining
  }

  async #drainAll(): Promise<void> {
    clearTimeout(this.#idle)
    this.#queueCounts()
    while (this.#waiting.length > 0 && !this.#isOver() && !this.#isHeldBack) {
      const goesOn = this.#mayStartThread() ? await this.#drainByThread() : await this.#drainHere()
      if (!goesOn) return
      this.#queueCounts()
    }
    this.#dismissLater()
  }

  /** Counts wait as one item behind the events that were taken before them. */
  #queueCounts(): void {
    if (!this.#counts.isEmpty) this.#waiting.push({ kind: 'counted', counts: this.#counts.take() })
  }

  /** A store in memory lives in its thread. */
  #dismissLater(): void {
    clearTimeout(this.#idle)
    if (this.#options.folder === undefined || !this.#thread.isRunning || this.#isOver()) return
    this.#idle = setTimeout(() => this.#thread.dismiss(), IDLE_MS).unref()
  }

  /** A program that shuts down at once has no use for a thread. */
  #mayStartThread(): boolean {
    if (this.#thread.isRunning) return true
    return this.#options.thread !== 'never' && this.#threadFaults < MOST_THREAD_FAULTS && !this.#isClosing
  }

  /** @returns Says whether to go on with what waits. */
  async #drainByThread(): Promise<boolean> {
    const items = this.#waiting.slice(0, ITEMS_AT_ONCE)
    const unreported = this.#unreportedDrops
    this.#inFlight = { count: items.length, unreported }
    const end = await this.#thread.write(items, { dropped: unreported, exports: this.#exports() })
    if (end.type === 'taken_back') return false
    this.#inFlight = undefined
    switch (end.type) {
      case 'written':
        this.#threadFaults = 0
        this.#markWritten(items.length, unreported, end.unwritable)
        this.#reportBeside(end.besideNewer)
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

  /** A thread that ends by itself takes a store in memory with it. */
  #threadLost(): void {
    if (this.#options.folder === undefined && this.#hasWritten) report(() => this.#options.onFailure?.(lostMemory()))
    this.#hasWritten = false
  }

  /** @returns Says whether to go on with what waits. */
  async #drainHere(): Promise<boolean> {
    for (let tries = 0; ; tries += 1) {
      const result = this.#write(this.#waiting.slice(0, ITEMS_AT_ONCE), 0)
      if (result === 'failed' || this.#isOver()) return false
      if (result === 'written') {
        await nextTurn()
        return true
      }
      await pause(pauseAfter(tries))
    }
  }

  /** Writes the first items that wait, on this thread. */
  #write(items: readonly WaitingItem[], waitMs: number): 'written' | 'busy' | 'failed' {
    const unreported = this.#unreportedDrops
    const batch = writtenBatch(items, { dropped: unreported, exports: this.#exports() })
    try {
      if (!this.#writer.tryWrite(batch, waitMs)) return 'busy'
    } catch (error) {
      this.#fail(error)
      return 'failed'
    }
    this.#markWritten(items.length, unreported, batch.unwritable)
    this.#reportBeside(this.#writer.besideNewer)
    return 'written'
  }

  #exports(): boolean {
    let exports = false
    report(() => {
      exports = this.#options.exports?.() ?? false
    })
    return exports
  }

  /** The first items that wait are in the store, but for those that cannot be. */
  #markWritten(count: number, unreported: number, unwritable: number): void {
    this.#failure = undefined
    this.#hasWritten = true
    this.#unreportedDrops -= unreported
    this.#waiting.splice(0, count)
    this.#settle(count)
    this.#drop(unwritable)
  }

  #settle(count: number): void {
    this.#settled += count
    const over = this.#settledWaiters.filter(({ upTo }) => upTo <= this.#settled)
    this.#settledWaiters = this.#settledWaiters.filter(({ upTo }) => upTo > this.#settled)
    for (const { resolve } of over) resolve()
  }

  /** The process may end after any turn: what the thread has not written by now is written here. */
  #writeLast(waitMs: number): void {
    // A store in memory that a thread holds cannot be written from here.
    if (this.#isOver() || (this.#options.folder === undefined && this.#options.thread !== 'never')) return
    this.#queueCounts()
    const sent = this.#inFlight
    this.#inFlight = undefined
    if (sent && this.#thread.takeBack(waitMs)) this.#markWritten(sent.count, sent.unreported, 0)
    if (this.#waiting.length > 0) this.#write(this.#waiting.slice(), waitMs)
    this.#thread.giveBack()
  }

  #fail(cause: unknown): void {
    const isNew = this.#failure === undefined
    const failure = eventStoreFailure(this.#writer.path, cause)
    this.#failure = failure
    if (isNew) report(() => this.#options.onFailure?.(failure))
    if (isLasting(this.#failure)) this.#end()
    else this.#wake(this.#options.retryMs)
  }

  #reportBeside(besideNewer: GatewayError | undefined): void {
    if (!besideNewer || this.#isBesideNewer) return
    this.#isBesideNewer = true
    report(() => this.#options.onFailure?.(besideNewer))
  }

  #end(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#idle)
    this.#forgetExit?.()
    this.#thread.dismiss()
    this.#writer.close()
    const events = this.waiting
    const { length } = this.#waiting
    this.#waiting = []
    this.#settle(length)
    if (this.#options.folder !== undefined) this.#drop(events)
  }

  #drop(count: number): void {
    if (count === 0) return
    this.#dropped += count
    this.#unreportedDrops += count
    report(() => this.#options.onDropped?.('event_store', count))
  }
}

/** A refresh that brought no token, or one that no file holds. */
function isTrouble(event: GatewatchEvent): boolean {
  return event.isError || (event.kind === 'token_request' && event.outcome === 'not_persisted')
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
