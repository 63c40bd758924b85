import type { Attributes } from '@opentelemetry/api'
import type { FinishedSpan } from '../telemetry/finished-span.ts'
import type { RedactedProcessor } from '../telemetry/redaction-processor.ts'
import { isInteresting, isOAuthSpan } from './keep-policy.ts'
import { type AcquisitionKey, acquisitionLabels, type FallbackKey, fallbacksOf, type RefreshKey } from './label-dictionary.ts'
import type { TokenSend } from './queries/token-replays.ts'
import type { ReadingGaps, RecordedSpans, SpanRange } from './recorded-spans.ts'
import { isRefresh, refreshRow } from './refresh-row.ts'
import { Ring } from './ring.ts'
import { type CountRow, RunningCounts } from './running-counts.ts'
import { rowOf, type SpanRow } from './span-row.ts'
import { tokenRequestRow } from './token-request-row.ts'

export interface RecorderOptions {
  /** Spans of OAuth kept: refreshes, logins, acquisitions that were not a plain reuse, bypasses. @default 20_000 */
  mostInteresting?: number
  /** Other spans kept in which something happened: errors, fallbacks, skips. @default 10_000 */
  mostEventful?: number
  /** Other spans kept. @default 5_000 */
  mostOrdinary?: number
  /** Rows of each running table before callers are counted as `_other`. @default 5_000 */
  mostCounts?: number
}

export const RECORDER_DEFAULTS = {
  mostInteresting: 20_000,
  mostEventful: 10_000,
  mostOrdinary: 5_000,
  mostCounts: 5_000,
} as const satisfies Required<RecorderOptions>

export interface RingStats {
  readonly kept: number
  readonly dropped: number
}

export interface RecorderStats {
  readonly interesting: RingStats
  readonly ordinary: RingStats
}

export type { AcquisitionKey, FallbackKey, RefreshKey }

/** A row with its place in the order of ends, by which two rings are read as one. */
interface Placed {
  readonly place: number
  readonly row: SpanRow
}

/**
 * Keeps recent spans in memory for the ops page and `diagnose`; what is interesting outlives the bulk of the traffic, and
 * OAuth outlives calls that fail or fall back a thousand times a second.
 *
 * Bounded by count, whatever comes. Must stand behind `RedactingSpanProcessor`: it keeps what it gets.
 */
export class Recorder implements RedactedProcessor, RecordedSpans {
  readonly #oauth: Ring<Placed>
  readonly #notable: Ring<Placed>
  readonly #ordinary: Ring<SpanRow>
  readonly #refreshes: RunningCounts<RefreshKey>
  readonly #acquisitions: RunningCounts<AcquisitionKey>
  readonly #fallbacks: RunningCounts<FallbackKey>
  #place = 0
  readonly #followers = new Set<(row: SpanRow) => void>()

  /** @throws {RangeError} if a bound is not a positive whole number. */
  constructor(options: RecorderOptions = {}) {
    const { mostInteresting, mostEventful, mostOrdinary, mostCounts: most } = { ...RECORDER_DEFAULTS, ...options }
    this.#oauth = new Ring(mostInteresting)
    this.#notable = new Ring(mostEventful)
    this.#ordinary = new Ring(mostOrdinary)
    this.#refreshes = new RunningCounts<RefreshKey>({ unbounded: 'caller', most })
    this.#acquisitions = new RunningCounts<AcquisitionKey>({ unbounded: 'caller', most })
    this.#fallbacks = new RunningCounts<FallbackKey>({ unbounded: 'from', most })
  }

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: FinishedSpan): void {
    const row = rowOf(span)
    this.#place += 1
    if (isOAuthSpan(row)) this.#oauth.push({ place: this.#place, row })
    else if (isInteresting(row)) this.#notable.push({ place: this.#place, row })
    else this.#ordinary.push(row)
    this.#count(row)
    for (const follower of this.#followers) follower(row)
  }

  /** Counts an acquisition of a trace that is not kept: the tables are right for all of them. */
  onForgotten(name: string, attributes: Readonly<Attributes>): void {
    const acquisition = acquisitionLabels({ name, attributes })
    if (!acquisition) return
    const atMs = Date.now()
    this.#acquisitions.add(acquisition, atMs)
    for (const follower of this.#followers) follower(bareRow(name, attributes, atMs))
  }

  /** Describes every row from now on, and of acquisitions that are not kept by a row without ids, within the call that ends its span: a follower must be quick and must not throw. @returns Ends it. */
  follow(follower: (row: SpanRow) => void): () => void {
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }

  async forceFlush(): Promise<void> {
    // Nothing is on its way.
  }

  async shutdown(): Promise<void> {
    // What was kept can still be read.
  }

  /** Interesting rows, the one that ended last first. */
  *interesting(): Generator<SpanRow> {
    const rings = [this.#oauth.newestFirst(), this.#notable.newestFirst()]
    const next = rings.map(ring => ring.next().value as Placed | undefined)
    for (;;) {
      const [oauth, notable] = next
      if (!oauth && !notable) return
      const newest = (oauth?.place ?? 0) > (notable?.place ?? 0) ? 0 : 1
      yield (next[newest] as Placed).row
      next[newest] = rings[newest]?.next().value as Placed | undefined
    }
  }

  ordinary(): Iterable<SpanRow> {
    return this.#ordinary.newestFirst()
  }

  /** How many spans were recorded, those that had to make room included. */
  get recorded(): number {
    return this.#place
  }

  /** Nothing that is kept is out of reach. */
  get gaps(): ReadingGaps {
    return { unreadable: 0, leftOut: 0 }
  }

  *refreshSpans(): Generator<SpanRow> {
    for (const { row } of this.#oauth.newestFirst()) if (isRefresh(row)) yield row
  }

  *spans({ sinceMs = 0 }: SpanRange = {}): Generator<SpanRow> {
    for (const rows of [this.interesting(), this.ordinary()]) for (const row of rows) if (row.startMs + row.durationMs >= sinceMs) yield row
  }

  *spansOf(traceId: string): Generator<SpanRow> {
    for (const row of this.interesting()) if (row.traceId === traceId) yield row
    for (const row of this.#ordinary.newestFirst()) if (row.traceId === traceId) yield row
  }

  repeatedSends(): TokenSend[] {
    const sends = Array.from(this.refreshSpans(), tokenRequestRow).filter(send => send !== undefined)
    const tokens = Map.groupBy(sends, ({ fingerprint }) => fingerprint)
    return [...tokens.values()].filter(([first, second]) => second !== undefined || first?.knownReplay).flat()
  }

  /** Refreshes since the process began, by who, why, which way and how they ended. `outcome` is empty where none was known. */
  refreshCounts(): CountRow<RefreshKey>[] {
    return this.#refreshes.rows()
  }

  /** Acquisitions at the gate since the process began, by who, why and what the gate did. */
  acquisitionCounts(): CountRow<AcquisitionKey>[] {
    return this.#acquisitions.rows()
  }

  /** Fallbacks since the process began, by profiles and by what drove the calls from one to the other. */
  fallbackCounts(): CountRow<FallbackKey>[] {
    return this.#fallbacks.rows()
  }

  stats(): RecorderStats {
    return {
      interesting: { kept: this.#oauth.size + this.#notable.size, dropped: this.#oauth.dropped + this.#notable.dropped },
      ordinary: { kept: this.#ordinary.size, dropped: this.#ordinary.dropped },
    }
  }

  #count(row: SpanRow): void {
    if (isRefresh(row)) {
      const { caller, reason, via, outcome = '', atMs } = refreshRow(row)
      this.#refreshes.add({ caller, reason, via, outcome }, atMs)
    }
    const acquisition = acquisitionLabels(row)
    if (acquisition) this.#acquisitions.add(acquisition, row.startMs)
    for (const { key, atMs } of fallbacksOf(row)) this.#fallbacks.add(key, atMs)
  }
}

/** What is left of a span that is not kept: what it was and what it said. */
function bareRow(name: string, attributes: Readonly<Attributes>, atMs: number): SpanRow {
  return {
    ...{ traceId: '', spanId: '', parentSpanId: undefined, kind: 'internal', status: 'unset', events: [], links: [] },
    ...{ name, startMs: atMs, durationMs: 0, attributes },
  }
}
