import type { Attributes } from '@opentelemetry/api'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace'
import {
  ATTR_BILLING_CHANGED,
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_REASON,
  EVENT_BYPASS,
  EVENT_FALLBACK,
  EVENT_REPLAY,
  EVENT_SKIPPED,
  SPAN_EXCHANGE,
  SPAN_LOGIN,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_VISIT,
} from '../../otel/names.ts'
import { isBypass, isRefresh, refreshRow } from './refresh-row.ts'
import { Ring } from './ring.ts'
import { type CountRow, RunningCounts } from './running-counts.ts'
import { rowOf, type SpanRow } from './span-row.ts'

export interface RecorderOptions {
  /** Interesting spans kept: refreshes, visits that were not a plain reuse, bypasses, errors, fallbacks, skips. @default 20_000 */
  mostInteresting?: number
  /** Other spans kept. @default 5_000 */
  mostOrdinary?: number
  /** Rows of each running table before callers are counted as `_other`. @default 5_000 */
  mostCounts?: number
}

export const DEFAULTS = { mostInteresting: 20_000, mostOrdinary: 5_000, mostCounts: 5_000 } as const satisfies Required<RecorderOptions>

export interface RingStats {
  readonly kept: number
  readonly dropped: number
}

export interface RecorderStats {
  readonly interesting: RingStats
  readonly ordinary: RingStats
}

export type RefreshKey = 'caller' | 'reason' | 'via' | 'outcome'
export type VisitKey = 'caller' | 'reason' | 'decision'
export type FallbackKey = 'from' | 'to' | 'reason' | 'billingChanged'

const INTERESTING_SPANS: ReadonlySet<string> = new Set([SPAN_REFRESH, SPAN_LOGIN, SPAN_EXCHANGE, SPAN_REVOKE])
const INTERESTING_EVENTS: ReadonlySet<string> = new Set([EVENT_BYPASS, EVENT_FALLBACK, EVENT_SKIPPED, EVENT_REPLAY])

/**
 * Keeps recent spans in memory for the ops page and `diagnose`; what is interesting outlives the bulk of the traffic.
 *
 * Bounded by count, whatever comes. Must stand behind `RedactingSpanProcessor`: it keeps what it gets.
 */
export class Recorder implements SpanProcessor {
  readonly #interesting: Ring<SpanRow>
  readonly #ordinary: Ring<SpanRow>
  readonly #refreshes: RunningCounts<RefreshKey>
  readonly #visits: RunningCounts<VisitKey>
  readonly #fallbacks: RunningCounts<FallbackKey>

  /** @throws {RangeError} if a bound is not a positive whole number. */
  constructor(options: RecorderOptions = {}) {
    const { mostInteresting, mostOrdinary, mostCounts: most } = { ...DEFAULTS, ...options }
    this.#interesting = new Ring(mostInteresting)
    this.#ordinary = new Ring(mostOrdinary)
    this.#refreshes = new RunningCounts<RefreshKey>({ unbounded: 'caller', most })
    this.#visits = new RunningCounts<VisitKey>({ unbounded: 'caller', most })
    this.#fallbacks = new RunningCounts<FallbackKey>({ unbounded: 'from', most })
  }

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: ReadableSpan): void {
    const row = rowOf(span)
    if (isInteresting(row)) this.#interesting.push(row)
    else this.#ordinary.push(row)
    this.#count(row)
  }

  async forceFlush(): Promise<void> {
    // Nothing is on its way.
  }

  async shutdown(): Promise<void> {
    // What was kept can still be read.
  }

  /** Interesting rows, the one that ended last first. */
  interesting(): Iterable<SpanRow> {
    return this.#interesting.newestFirst()
  }

  ordinary(): Iterable<SpanRow> {
    return this.#ordinary.newestFirst()
  }

  /** Refreshes since the process began, by who, why, which way and how they ended. `outcome` is empty where none was known. */
  refreshCounts(): CountRow<RefreshKey>[] {
    return this.#refreshes.rows()
  }

  /** Visits at the gate since the process began, by who, why and what the gate did. */
  visitCounts(): CountRow<VisitKey>[] {
    return this.#visits.rows()
  }

  /** Fallbacks since the process began, by profiles and by what drove the calls from one to the other. */
  fallbackCounts(): CountRow<FallbackKey>[] {
    return this.#fallbacks.rows()
  }

  stats(): RecorderStats {
    return {
      interesting: { kept: this.#interesting.size, dropped: this.#interesting.dropped },
      ordinary: { kept: this.#ordinary.size, dropped: this.#ordinary.dropped },
    }
  }

  #count(row: SpanRow): void {
    if (isRefresh(row)) {
      const { caller, reason, via, outcome = '', atMs } = refreshRow(row)
      this.#refreshes.add({ caller, reason, via, outcome }, atMs)
    }
    if (row.name === SPAN_VISIT) {
      const read = wordsOf(row.attributes)
      this.#visits.add({ caller: read(ATTR_CALLER), reason: read(ATTR_REASON), decision: read(ATTR_DECISION) }, row.startMs)
    }
    for (const { name, attributes, atMs } of row.events) {
      if (name !== EVENT_FALLBACK) continue
      const read = wordsOf(attributes)
      const key = { from: read(ATTR_FALLBACK_FROM), to: read(ATTR_FALLBACK_TO), reason: read(ATTR_FALLBACK_REASON) }
      this.#fallbacks.add({ ...key, billingChanged: read(ATTR_BILLING_CHANGED) }, atMs)
    }
  }
}

function wordsOf(attributes: Readonly<Attributes>): (key: string) => string {
  return key => String(attributes[key] ?? 'unknown')
}

function isInteresting(row: SpanRow): boolean {
  if (row.status === 'error' || INTERESTING_SPANS.has(row.name)) return true
  if (row.name === SPAN_VISIT) return row.attributes[ATTR_DECISION] !== 'reuse'
  return isBypass(row) || row.events.some(({ name }) => INTERESTING_EVENTS.has(name))
}
