import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { KEEP_CLASSES, type KeepClass } from './event-schema.ts'

/** How much is stored. The process that writes also clears away, a little at a time. */
export interface EventRetentionOptions {
  /** Events of the class `kept` that are stored. @default 200_000 */
  mostKept?: number
  /** Other events that are stored. @default 50_000 */
  mostBulk?: number
  /** How long an event is stored after its end, in ms. @default 604_800_000 (7 days) */
  mostAgeMs?: number
  /** Size of the database, in bytes; the journal beside it is emptied at 4 MiB. @default 67_108_864 (64 MiB) */
  mostBytes?: number
}

export const EVENT_RETENTION_DEFAULTS = {
  mostKept: 200_000,
  mostBulk: 50_000,
  mostAgeMs: 7 * 86_400_000,
  mostBytes: 64 * 1024 * 1024,
} as const satisfies Required<EventRetentionOptions>

/** Rows of a class that are cleared away in one go: more than are written in one, so that clearing catches up. */
const MOST_REMOVED = 500
/** Rows between two looks at the size. */
const ROWS_A_STEP = 20
/** A stack in use is marked again about once a minute; the rest is for clocks that differ. */
const STACK_MARGIN_MS = 300_000

/** Keeps the store within its bounds, inside the transaction of the process that writes. */
export class EventRetention {
  readonly #bounds: Required<EventRetentionOptions>
  readonly #oldest: StatementSync
  readonly #remove: StatementSync
  readonly #stored: StatementSync
  readonly #uncount: StatementSync
  readonly #bytes: StatementSync
  readonly #stacks: StatementSync
  readonly #processes: StatementSync

  constructor(database: DatabaseSync, bounds: Required<EventRetentionOptions>) {
    this.#bounds = bounds
    this.#oldest = database.prepare('SELECT id, end_ms FROM event WHERE keep = ? ORDER BY id')
    this.#remove = database.prepare('DELETE FROM event WHERE keep = ? AND id <= ?')
    this.#stored = database.prepare('SELECT events FROM keep_class WHERE keep = ?')
    this.#uncount = database.prepare('UPDATE keep_class SET events = events - ? WHERE keep = ?')
    this.#bytes = database.prepare(
      'SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size',
    )
    this.#stacks = database.prepare('DELETE FROM stack WHERE seen_ms < ?')
    this.#processes = database.prepare('DELETE FROM process WHERE seen_ms < ?')
  }

  /** Clears away what is past a bound, up to a limit of work. @returns Events that were removed. */
  apply(nowMs: number): number {
    const { mostKept, mostBulk, mostAgeMs, mostBytes } = this.#bounds
    const cutoffMs = nowMs - mostAgeMs
    let removed = this.#prune('kept', mostKept, cutoffMs) + this.#prune('bulk', mostBulk, cutoffMs)
    removed += this.#shrink(mostBytes)
    if (removed > 0) this.#stacks.run(this.#oldestEndMs(nowMs) - STACK_MARGIN_MS)
    // A process that writes says so each time; an event is never younger than its process.
    this.#processes.run(cutoffMs)
    return removed
  }

  #prune(keep: KeepClass, most: number, cutoffMs: number): number {
    const excess = Number(this.#stored.get(keep)?.events ?? 0) - most
    let count = 0
    let last: number | undefined
    for (const row of this.#oldest.iterate(keep)) {
      if (count >= MOST_REMOVED || (count >= excess && Number(row.end_ms) >= cutoffMs)) break
      count += 1
      last = Number(row.id)
    }
    return this.#removeUpTo(keep, last)
  }

  /** The bulk goes first; where no event is left, the stacks do. */
  #shrink(mostBytes: number): number {
    let all = 0
    while (all < MOST_REMOVED && this.#usedBytes() > mostBytes) {
      const removed = this.#removeOldest('bulk') || this.#removeOldest('kept')
      if (removed === 0) break
      all += removed
    }
    return all
  }

  #removeOldest(keep: KeepClass): number {
    let count = 0
    let last: number | undefined
    for (const { id } of this.#oldest.iterate(keep)) {
      last = Number(id)
      count += 1
      if (count === ROWS_A_STEP) break
    }
    return this.#removeUpTo(keep, last)
  }

  #removeUpTo(keep: KeepClass, last: number | undefined): number {
    if (last === undefined) return 0
    const removed = Number(this.#remove.run(keep, last).changes)
    this.#uncount.run(removed, keep)
    return removed
  }

  /** End of the oldest event as it was written; now where there is none. */
  #oldestEndMs(nowMs: number): number {
    return Math.min(nowMs, ...KEEP_CLASSES.map(keep => Number(this.#oldest.get(keep)?.end_ms ?? nowMs)))
  }

  #usedBytes(): number {
    return Number(this.#bytes.get()?.bytes ?? 0)
  }
}

/** @throws {RangeError} if a bound is not a positive whole number. */
export function eventRetentionOf(options: EventRetentionOptions): Required<EventRetentionOptions> {
  const { mostKept, mostBulk, mostAgeMs, mostBytes } = options
  const given = Object.entries({ mostKept, mostBulk, mostAgeMs, mostBytes }).filter(([, value]) => value !== undefined)
  for (const [name, value] of given)
    if (!Number.isSafeInteger(value) || Number(value) < 1) throw new RangeError(`${name} must be a positive whole number, not ${value}`)
  return { ...EVENT_RETENTION_DEFAULTS, ...Object.fromEntries(given) }
}
