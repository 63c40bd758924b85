import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { OTHER } from '../../otel/semconv.ts'
import type { AcquireEvent, GatewatchEvent } from '../domain/events.ts'
import type { Counter } from './event-schema.ts'
import { isRefreshEvent } from './keep-class.ts'

/** Labels of counters; a counter leaves out those it does not have. */
export const COUNTER_LABELS = ['caller', 'reason', 'via', 'outcome', 'decision', 'from_profile', 'to_profile'] as const
export type CounterLabel = (typeof COUNTER_LABELS)[number]

/** One addition to a counter. */
export interface CounterIncrement {
  readonly name: Counter
  readonly labels: Readonly<Partial<Record<CounterLabel, string>>>
  readonly by: number
  readonly atMs: number
}

/** Rows of each counter before callers, or profiles, are counted as `_other`. */
const MOST_ROWS_OF_COUNTER = 5_000
/** Rows that a process inserts between two counts of all rows. */
const RECOUNT_EVERY = 200
/** A row that nothing was added to for so long is forgotten: its caller is gone. */
const LONGEST_UNUSED_MS = 90 * 86_400_000

/** What an event adds to counters. */
export function countersOf(event: GatewatchEvent): CounterIncrement[] {
  const { standsFor: by, startMs: atMs, caller } = event
  const counts: CounterIncrement[] = []
  if ((event.kind === 'token_request' || event.kind === 'acquire') && isRefreshEvent(event)) {
    const { reason, via, outcome = '' } = event
    counts.push({ name: 'refresh', labels: { caller: caller.label, reason, via: via ?? '', outcome }, by, atMs })
  }
  if (event.kind === 'acquire') counts.push(acquisitionCount(event))
  const moves = event.steps.filter(({ name }) => name === 'fallback')
  for (const { fallbackFrom, fallbackTo, fallbackReason, atMs: movedMs } of moves) {
    const labels = { from_profile: fallbackFrom ?? 'unknown', to_profile: fallbackTo ?? 'unknown', reason: fallbackReason ?? 'unknown' }
    counts.push({ name: 'fallback', labels, by, atMs: movedMs })
  }
  const [first] = moves
  if ((event.kind === 'call' || event.kind === 'attempt') && first && event.billingChanged) {
    // From the profile that was preferred to the one that served, whatever was tried in between.
    const labels = {
      from_profile: first.fallbackFrom ?? 'unknown',
      to_profile: event.profile ?? 'unknown',
      reason: first.fallbackReason ?? 'unknown',
    }
    counts.push({ name: 'billing_change', labels, by, atMs: first.atMs })
  }
  return counts
}

/** What an acquisition adds to its counter; also one that is counted and not stored. */
export function acquisitionCount({
  caller,
  reason,
  decision,
  standsFor: by,
  startMs: atMs,
}: Pick<AcquireEvent, 'caller' | 'reason' | 'decision' | 'standsFor' | 'startMs'>): CounterIncrement {
  return { name: 'acquisition', labels: { caller: caller.label, reason, decision: decision ?? 'unknown' }, by, atMs }
}

/** Increments that add to one row, as one. */
export class CounterSums {
  readonly #sums = new Map<string, CounterIncrement>()

  get isEmpty(): boolean {
    return this.#sums.size === 0
  }

  add(increment: CounterIncrement): void {
    const key = keyOf(increment)
    const sum = this.#sums.get(key)
    this.#sums.set(key, sum ? { ...sum, by: sum.by + increment.by, atMs: Math.max(sum.atMs, increment.atMs) } : increment)
  }

  /** What was added; begins again from nothing. */
  take(): CounterIncrement[] {
    const sums = [...this.#sums.values()]
    this.#sums.clear()
    return sums
  }
}

/** Writes counters inside the transaction of their events. */
export class CounterTable {
  readonly #add: StatementSync
  readonly #insert: StatementSync
  readonly #rows: StatementSync
  readonly #most: number
  /** Rows of each counter as far as this process knows: others insert, too. */
  readonly #known = new Map<Counter, number>()

  constructor(database: DatabaseSync, most = MOST_ROWS_OF_COUNTER) {
    const labels = COUNTER_LABELS.join(', ')
    const named = COUNTER_LABELS.map(label => `:${label}`).join(', ')
    const isRow = COUNTER_LABELS.map(label => `${label} = :${label}`).join(' AND ')
    this.#most = most
    this.#add = database.prepare(`UPDATE counter SET count = count + :by, last_ms = max(last_ms, :atMs) WHERE name = :name AND ${isRow}`)
    this.#insert = database.prepare(
      `INSERT INTO counter (name, ${labels}, count, first_ms, last_ms) VALUES (:name, ${named}, :by, :atMs, :atMs)`,
    )
    this.#rows = database.prepare('SELECT count(*) AS count FROM counter WHERE name = ?')
  }

  add({ name, labels, by, atMs }: CounterIncrement): void {
    const row = { name, by, atMs, ...NO_LABELS, ...labels }
    if (this.#add.run(row).changes > 0) return
    if (!this.#isFull(name)) {
      this.#insert.run(row)
      return
    }
    // The labels without a closed list give way; the others bound what is left.
    const other = { ...row, ...(row.from_profile === '' ? { caller: OTHER } : { from_profile: OTHER, to_profile: OTHER }) }
    if (this.#add.run(other).changes === 0) this.#insert.run(other)
  }

  /** Counts the rows now and then: counting them with each new one would cost more than writing it. */
  #isFull(name: Counter): boolean {
    const known = this.#known.get(name) ?? 0
    const rows = known % RECOUNT_EVERY === 0 && known < this.#most ? Number(this.#rows.get(name)?.count ?? 0) : known
    this.#known.set(name, rows + 1)
    return rows >= this.#most
  }
}

/** Forgets counters that nothing was added to for long. */
export function forgetUnusedCounters(database: DatabaseSync, nowMs: number): void {
  database.prepare('DELETE FROM counter WHERE last_ms < ?').run(nowMs - LONGEST_UNUSED_MS)
}

const NO_LABELS = Object.fromEntries(COUNTER_LABELS.map(label => [label, ''])) as Readonly<Record<CounterLabel, string>>

function keyOf({ name, labels }: CounterIncrement): string {
  return [name, ...COUNTER_LABELS.map(label => labels[label] ?? '')].join('\0')
}
