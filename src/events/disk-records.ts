import { type Stats, statSync } from 'node:fs'
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite'
import { PROCESS_ROLES, type ProcessRole } from '../domain/enums.ts'
import { unreadable } from '../store/store-failure.ts'
import type { AcquisitionKey, FallbackKey, RefreshKey } from './label-dictionary.ts'
import type { ProcessRow } from './process-row.ts'
import type { TokenSend } from './queries/token-replays.ts'
import type { ReadingGaps, RecordedSpans, RefreshFilter, SpanRange } from './recorded-spans.ts'
import { isLasting, noFolder, nothingRecorded, recorderFailure } from './recorder-failure.ts'
import { readRecorderUnmodified, recorderFile, requireOwnRecorder } from './recorder-file.ts'
import { SPAN_TABLES, type SpanTable } from './recorder-schema.ts'
import type { CountRow } from './running-counts.ts'
import { readSpan } from './span-columns.ts'
import type { SpanRow } from './span-row.ts'

type Row = Record<string, SQLOutputValue>

const FILTER_COLUMNS = ['provider', 'profile', 'caller', 'reason', 'via', 'outcome'] as const
const PROCESS_COLUMNS = 'pid, role, started_ms, title, host'
/** Sent tokens looked at for replays, the newest; more would not be read by anybody. */
const MOST_SENDS = 50_000
/** Rows in a run that are older than asked for, after which no younger one is expected. */
const MOST_OUT_OF_ORDER = 5_000

/**
 * Asks what all processes of a state folder have recorded. Creates, changes and locks nothing; writers go on meanwhile.
 *
 * @param query Gets the records, and may read them until it returns.
 * @throws {GatewayError} `GW_CONFIG` when nothing was ever recorded there, `GW_STORE_DAMAGED`, `GW_STORE_NEWER`,
 *   `GW_STORE_UNREADABLE` (also when another user controls the folder or the file); and what `query` throws.
 */
export function readRecords<T>(folder: string, query: (records: DiskRecords) => T): T {
  const found = isThere(folder)
  if (!found) throw nothingRecorded(folder, 'the folder does not exist')
  if (!found.isDirectory()) throw noFolder(folder)
  const path = recorderFile(folder)
  if (!requireOwnRecorder(path)) throw nothingRecorded(folder, 'the folder holds no recorder file')
  return readRecorderFile(path, query)
}

/**
 * As `readRecords`, from the file itself: one that was copied from another machine, under any name.
 *
 * @throws {GatewayError} `GW_STORE_DAMAGED`, `GW_STORE_NEWER`, `GW_STORE_UNREADABLE`; and what `query` throws.
 */
export function readRecorderFile<T>(path: string, query: (records: DiskRecords) => T): T {
  try {
    return readRecorderUnmodified(path, database => query(new DiskRecords(database)))
  } catch (cause) {
    if (!isSystemError(cause)) throw cause
    const failure = recorderFailure(path, cause)
    throw isLasting(failure) ? failure : unreadable(path, cause)
  }
}

function isThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

/** What is recorded in a state folder, for as long as `readRecords` lets it be read. Rows name their processes. */
export class DiskRecords implements RecordedSpans {
  readonly #database: DatabaseSync
  #unreadable = 0
  #leftOut = 0

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  get gaps(): ReadingGaps {
    return { unreadable: this.#unreadable, leftOut: this.#leftOut }
  }

  *refreshSpans(filter: RefreshFilter = {}): Generator<SpanRow> {
    const { sql, values } = conditions(filter)
    const query = `SELECT row, ${PROCESS_COLUMNS} FROM interesting LEFT JOIN process ON process.id = interesting.process
      WHERE via IS NOT NULL ${sql} ORDER BY at_ms DESC`
    for (const row of this.#database.prepare(query).iterate(...values)) yield* this.#readable(row)
  }

  /** The newest first, table by table: nothing beyond the range is read, however large the file is. */
  *spans({ sinceMs = 0, most }: SpanRange = {}): Generator<SpanRow> {
    // Processes are few and spans are many: joined in here, each process is one object for all of its spans.
    const processes = this.#processesById()
    for (const table of SPAN_TABLES) {
      let left = most?.[table] ?? Number.POSITIVE_INFINITY
      let older = 0
      for (const { id, process, ended_ms: endedMs, row } of this.#database.prepare(newestFirst(table)).iterate()) {
        // Rows lie in the order in which they were written, which is nearly that of their times: processes write in batches.
        if (Number(endedMs) < sinceMs) {
          older += 1
          if (older > MOST_OUT_OF_ORDER) break
          continue
        }
        older = 0
        if (left === 0) {
          this.#leftOut += this.#countOf(table, { upTo: Number(id), sinceMs })
          break
        }
        left -= 1
        const by = processes.get(process)
        for (const span of this.#readable({ row: row ?? null })) yield by ? { ...span, process: by } : span
      }
    }
  }

  *spansOf(traceId: string): Generator<SpanRow> {
    for (const table of SPAN_TABLES) {
      const query = `SELECT row, ${PROCESS_COLUMNS} FROM ${table} LEFT JOIN process ON process.id = ${table}.process WHERE trace_id = ?`
      for (const row of this.#database.prepare(query).iterate(traceId)) yield* this.#readable(row)
    }
  }

  /** Where the records end now: a mark for `refreshesAfter`. */
  mark(): number {
    return Number(this.#database.prepare('SELECT max(id) AS mark FROM interesting').get()?.mark ?? 0)
  }

  /** Refreshes that were written after a mark, in the order in which they were. */
  refreshesAfter(mark: number): SpanRow[] {
    const query = `SELECT row, ${PROCESS_COLUMNS} FROM interesting LEFT JOIN process ON process.id = interesting.process
      WHERE interesting.id > ? AND +via IS NOT NULL ORDER BY interesting.id`
    return this.#database
      .prepare(query)
      .all(mark)
      .flatMap(row => this.#readable(row))
  }

  /** The first and the last row of a table; 0 and 0 when it is empty. */
  extentOf(table: SpanTable): { first: number; last: number } {
    const row = this.#database.prepare(`SELECT min(id) AS first, max(id) AS last FROM ${table}`).get()
    return { first: Number(row?.first ?? 0), last: Number(row?.last ?? 0) }
  }

  /** Spans of any kind that were written to a table after a mark, in the order in which they were, and the mark of the last. */
  spansAfter(table: SpanTable, mark: number, most: number): { spans: SpanRow[]; mark: number } {
    const query = `SELECT ${table}.id AS mark, row, ${PROCESS_COLUMNS} FROM ${table} LEFT JOIN process ON process.id = ${table}.process
      WHERE ${table}.id > ? ORDER BY ${table}.id LIMIT ?`
    const rows = this.#database.prepare(query).all(mark, most)
    return { spans: rows.flatMap(row => this.#readable(row)), mark: Number(rows.at(-1)?.mark ?? mark) }
  }

  repeatedSends(): TokenSend[] {
    const query = `SELECT sent, at_ms, duration_ms, provider, profile, caller, reason, via, outcome, retained, known_replay, trace_id,
        span_id, ${PROCESS_COLUMNS}
      FROM interesting LEFT JOIN process ON process.id = interesting.process
      WHERE sent IN (SELECT sent FROM interesting WHERE sent IS NOT NULL
        GROUP BY sent HAVING (count(*) > 1 AND min(retained) = 0) OR max(known_replay) = 1)
      ORDER BY at_ms DESC LIMIT ${MOST_SENDS}`
    return this.#database.prepare(query).all().map(sendRow)
  }

  /** Over what is still kept. */
  refreshCounts(): CountRow<RefreshKey>[] {
    return this.#counts(
      ['caller', 'reason', 'via', 'outcome'],
      "SELECT caller, reason, via, coalesce(outcome, '') AS outcome, at_ms FROM interesting WHERE via IS NOT NULL",
    )
  }

  /** Over what is still kept: plain reuses are forgotten sooner than the others. */
  acquisitionCounts(): CountRow<AcquisitionKey>[] {
    const of = (table: string) => `SELECT caller, reason, decision, at_ms FROM ${table} WHERE decision IS NOT NULL`
    return this.#counts(['caller', 'reason', 'decision'], SPAN_TABLES.map(of).join(' UNION ALL '))
  }

  /** Over what is still kept. */
  fallbackCounts(): CountRow<FallbackKey>[] {
    return this.#counts(
      ['from', 'to', 'reason', 'billingChanged'],
      'SELECT from_profile AS "from", to_profile AS "to", reason, billing_changed AS "billingChanged", at_ms FROM fallback',
    )
  }

  /** The processes that recorded something, the latest first, with the spans each of them could not record. */
  processes(): (ProcessRow & { readonly dropped: number })[] {
    const query = `SELECT ${PROCESS_COLUMNS}, dropped FROM process ORDER BY seen_ms DESC`
    return this.#database
      .prepare(query)
      .all()
      .flatMap(row => {
        const found = processRow(row)
        return found ? [{ ...found, dropped: Number(row.dropped) }] : []
      })
  }

  /** The span of a row, or nothing for a damaged one, which is counted. */
  #readable(row: Row): SpanRow[] {
    const span = readSpan(String(row.row))
    if (!span) this.#unreadable += 1
    if (!span) return []
    const process = processRow(row)
    return [process ? { ...span, process } : span]
  }

  /** About how many rows of a table ended since a moment, up to a row: by halving, since their numbers have no gaps. */
  #countOf(table: SpanTable, { upTo, sinceMs }: { readonly upTo: number; readonly sinceMs: number }): number {
    const endOf = this.#database.prepare(`SELECT ended_ms FROM ${table} WHERE id = ?`)
    let [before, first] = [this.extentOf(table).first - 1, upTo]
    while (first - before > 1) {
      const middle = Math.floor((before + first) / 2)
      if (Number(endOf.get(middle)?.ended_ms ?? 0) < sinceMs) before = middle
      else first = middle
    }
    return upTo - first + 1
  }

  #processesById(): ReadonlyMap<SQLOutputValue | undefined, ProcessRow> {
    const rows = this.#database.prepare(`SELECT id, ${PROCESS_COLUMNS} FROM process`).all()
    return new Map(
      rows.flatMap(row => {
        const process = processRow(row)
        return process ? [[row.id, process] as const] : []
      }),
    )
  }

  #counts<Key extends string>(keys: readonly Key[], rows: string): CountRow<Key>[] {
    const words = keys.map(key => `"${key}"`).join(', ')
    const query = `SELECT ${words}, count(*) AS count, max(at_ms) AS last_ms FROM (${rows}) GROUP BY ${words} ORDER BY count DESC, last_ms DESC`
    return this.#database
      .prepare(query)
      .all()
      .map(row => ({
        key: Object.fromEntries(keys.map(key => [key, String(row[key])])) as Record<Key, string>,
        count: Number(row.count),
        lastSeenMs: Number(row.last_ms),
      }))
  }
}

function conditions({ sinceMs, callerPart, most: _most, ...words }: RefreshFilter): { sql: string; values: SQLInputValue[] } {
  const parts: string[] = []
  const values: SQLInputValue[] = []
  if (sinceMs !== undefined) {
    parts.push('AND at_ms >= ?')
    values.push(sinceMs)
  }
  if (callerPart !== undefined) {
    parts.push('AND instr(caller, ?) > 0')
    values.push(callerPart)
  }
  for (const column of FILTER_COLUMNS) {
    const wanted = words[column]
    if (wanted === undefined) continue
    const list = typeof wanted === 'string' ? [wanted] : wanted
    parts.push(`AND ${column} IN (${list.map(() => '?').join(', ')})`)
    values.push(...list)
  }
  return { sql: parts.join(' '), values }
}

function newestFirst(table: SpanTable): string {
  return `SELECT id, process, ended_ms, row FROM ${table} ORDER BY id DESC`
}

function sendRow(row: Row): TokenSend {
  return {
    fingerprint: String(row.sent),
    atMs: Number(row.at_ms),
    durationMs: Number(row.duration_ms),
    provider: text(row.provider),
    profile: text(row.profile),
    caller: String(row.caller),
    reason: String(row.reason),
    via: String(row.via),
    outcome: text(row.outcome),
    retained: row.retained === 1,
    knownReplay: row.known_replay === 1,
    traceId: String(row.trace_id),
    spanId: String(row.span_id),
    process: processRow(row),
  }
}

/** `undefined` for a span that outlived the row of its process. */
function processRow({ pid, role, started_ms: startedMs, title, host }: Row): ProcessRow | undefined {
  if (typeof pid !== 'number') return undefined
  const known = PROCESS_ROLES.find(word => word === role) ?? ('unknown' satisfies ProcessRole)
  return { pid, role: known, startedMs: Number(startedMs), title: String(title), host: String(host) }
}

function text(value: SQLOutputValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function isSystemError(cause: unknown): boolean {
  return cause instanceof Error && (typeof (cause as { errcode?: unknown }).errcode === 'number' || 'syscall' in cause)
}
