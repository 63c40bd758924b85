import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { SpanTable } from './recorder-schema.ts'

/** How much is kept on disk. The process that writes also clears away, a little at a time. */
export interface RetentionOptions {
  /** Interesting spans kept. @default 200_000 */
  mostInteresting?: number
  /** Other spans kept. @default 50_000 */
  mostOrdinary?: number
  /** How long a span is kept after its end, in ms. @default 604_800_000 (7 days) */
  mostAgeMs?: number
  /** Size of the database, in bytes; the journal beside it is emptied at 4 MiB. @default 67_108_864 (64 MiB) */
  mostBytes?: number
}

export const RETENTION_DEFAULTS = {
  mostInteresting: 200_000,
  mostOrdinary: 50_000,
  mostAgeMs: 7 * 86_400_000,
  mostBytes: 64 * 1024 * 1024,
} as const satisfies Required<RetentionOptions>

/** Rows of a table that are cleared away in one go: more than are written in one, so that clearing catches up. */
const ROWS_AT_ONCE = 500
/** Rows between two looks at the size. */
const ROWS_A_STEP = 20

/** Statements of one table. */
interface Statements {
  readonly ends: StatementSync
  readonly firstYoung: StatementSync
  readonly remove: StatementSync
}

/**
 * Keeps the file within its bounds, inside the transaction of the process that writes.
 *
 * Rows go strictly in the order of their ids. So ids have no gaps, the number of rows is a subtraction, and no step
 * looks at more than `ROWS_AT_ONCE` of them.
 */
export class Retention {
  readonly #bounds: Required<RetentionOptions>
  readonly #tables: Readonly<Record<SpanTable, Statements>>
  readonly #bytes: StatementSync
  readonly #fallbacks: StatementSync
  readonly #processes: StatementSync

  constructor(database: DatabaseSync, bounds: Required<RetentionOptions>) {
    this.#bounds = bounds
    this.#tables = { interesting: statements(database, 'interesting'), ordinary: statements(database, 'ordinary') }
    this.#bytes = database.prepare(
      'SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size',
    )
    this.#fallbacks = database.prepare('DELETE FROM fallback WHERE span < ?')
    this.#processes = database.prepare('DELETE FROM process WHERE seen_ms < ?')
  }

  /** Clears away what is past a bound, up to a limit of work. */
  apply(nowMs: number): void {
    const { mostInteresting, mostOrdinary, mostAgeMs, mostBytes } = this.#bounds
    const cutoffMs = nowMs - mostAgeMs
    this.#prune('interesting', mostInteresting, cutoffMs)
    this.#prune('ordinary', mostOrdinary, cutoffMs)
    this.#shrink(mostBytes)
    // A process that writes says so each time; a span is never younger than its process.
    this.#processes.run(cutoffMs)
  }

  #prune(table: SpanTable, most: number, cutoffMs: number): void {
    const { first, last } = this.#ends(table)
    if (first === undefined || last === undefined) return
    const young = this.#tables[table].firstYoung.get(cutoffMs)?.id
    const oldUpTo = young === undefined ? last : Number(young) - 1
    this.#removeUpTo(table, first, Math.max(oldUpTo, last - most))
  }

  /** The bulk goes first. */
  #shrink(mostBytes: number): void {
    for (let removed = 0; removed < ROWS_AT_ONCE && this.#usedBytes() > mostBytes; removed += ROWS_A_STEP)
      if (!this.#removeOldest('ordinary')) this.#removeOldest('interesting')
  }

  /** @returns false when there was nothing to remove. */
  #removeOldest(table: SpanTable): boolean {
    const { first, last } = this.#ends(table)
    if (first === undefined || last === undefined) return false
    this.#removeUpTo(table, first, first + ROWS_A_STEP - 1)
    return true
  }

  #removeUpTo(table: SpanTable, first: number, upTo: number): void {
    const lastRemoved = Math.min(upTo, first + ROWS_AT_ONCE - 1)
    if (lastRemoved < first) return
    this.#tables[table].remove.run(lastRemoved)
    if (table === 'interesting') this.#fallbacks.run(lastRemoved + 1)
  }

  #ends(table: SpanTable): { first: number | undefined; last: number | undefined } {
    const { first, last } = this.#tables[table].ends.get() ?? {}
    return { first: typeof first === 'number' ? first : undefined, last: typeof last === 'number' ? last : undefined }
  }

  #usedBytes(): number {
    return Number(this.#bytes.get()?.bytes ?? 0)
  }
}

/** @throws {RangeError} if a bound is not a positive whole number. */
export function retentionOf(options: RetentionOptions): Required<RetentionOptions> {
  const bounds = { ...RETENTION_DEFAULTS, ...options }
  for (const [name, value] of Object.entries(bounds))
    if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${name} must be a positive whole number, not ${value}`)
  return bounds
}

function statements(database: DatabaseSync, table: SpanTable): Statements {
  return {
    ends: database.prepare(`SELECT (SELECT min(id) FROM ${table}) AS first, (SELECT max(id) FROM ${table}) AS last`),
    firstYoung: database.prepare(
      `SELECT id FROM (SELECT id, ended_ms FROM ${table} ORDER BY id LIMIT ${ROWS_AT_ONCE}) WHERE ended_ms >= ? LIMIT 1`,
    ),
    remove: database.prepare(`DELETE FROM ${table} WHERE id <= ?`),
  }
}
