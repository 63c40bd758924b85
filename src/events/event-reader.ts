import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { EventKind, EventProcess, GatewatchEvent } from '../domain/events.ts'
import { type EventStoreRow, eventOfRow, eventProcessOf } from './event-row.ts'
import { KEEP_CLASSES, type KeepClass } from './event-schema.ts'

/** Which events are wanted. */
export interface EventRange {
  /** @default every kind */
  readonly kinds?: readonly EventKind[]
  /** Not ended before this moment, epoch ms. @default all that are stored */
  readonly sinceMs?: number
  /** Newest events of each class that are read. @default all */
  readonly most?: Readonly<Record<KeepClass, number>>
  /** Events carry the texts of their stacks. @default true */
  readonly withStacks?: boolean
}

/** Where a piece of events ended. */
export interface EventPlace {
  readonly keep: KeepClass
  readonly before: number
  readonly read: number
  readonly older: number
}

export interface EventPieceRange extends EventRange {
  readonly from?: EventPlace
}

export interface EventPiece {
  readonly events: readonly GatewatchEvent[]
  /** Of this piece alone. */
  readonly gaps: EventGaps
  readonly next?: EventPlace
}

/** What could not be read, or was not, up to now. */
export interface EventGaps {
  /** Rows that are damaged. */
  readonly unreadable: number
  /** Events of the range that are older than the newest ones that were to be read, about. */
  readonly leftOut: number
}

/** Rows of a piece: what a host turns from a message into objects in a few milliseconds. */
const PIECE_ROWS = 200
/** Stacks whose text is held for the next row. */
const MOST_STACKS = 2_000
/** Rows in a run that are older than asked for, after which no younger one is expected. */
const MOST_OUT_OF_ORDER = 5_000

/** Reads events of an open store. Queries of `queries/` use it where whole events are wanted; damaged rows are left out and counted. */
export class EventReader {
  readonly #database: DatabaseSync
  readonly #stackOf: StatementSync
  readonly #stacks = new Map<string, string | undefined>()
  readonly #processes = new Map<number, EventProcess | undefined>()
  readonly #withStacks: boolean
  #unreadable = 0
  #leftOut = 0

  /** @param withStacks Events carry the texts of their stacks. @default true */
  constructor(database: DatabaseSync, { withStacks = true }: { readonly withStacks?: boolean } = {}) {
    this.#database = database
    this.#withStacks = withStacks
    this.#stackOf = database.prepare('SELECT text FROM stack WHERE stack_id = ?')
  }

  get gaps(): EventGaps {
    return { unreadable: this.#unreadable, leftOut: this.#leftOut }
  }

  /** Events of a range, class by class, the newest first as they were written. */
  *events(range: EventRange = {}): Generator<GatewatchEvent> {
    for (let from: EventPlace | undefined; ; ) {
      const { events, next } = this.piece({ ...range, ...(from && { from }) })
      yield* events
      if (!next) return
      from = next
    }
  }

  /**
   * A piece of `events`: what a reader that must not hold one state for long asks again and again.
   *
   * @param from Where the last piece ended. @default the beginning
   * @returns `next`, unless that was the last piece.
   */
  piece({
    kinds,
    sinceMs = 0,
    most,
    from = { keep: 'kept', before: Number.MAX_SAFE_INTEGER, read: 0, older: 0 },
  }: EventPieceRange): EventPiece {
    const events: GatewatchEvent[] = []
    const ofKinds = kinds ? `AND kind IN (${kinds.map(() => '?').join(', ')})` : ''
    const query = `SELECT * FROM event WHERE keep = ? AND id < ? ${ofKinds} ORDER BY id DESC LIMIT ${PIECE_ROWS}`
    let { keep, before, read, older } = from
    let rows = 0
    let isOver = false
    for (const row of this.#database.prepare(query).iterate(keep, before, ...(kinds ?? []))) {
      rows += 1
      before = Number(row.id)
      // Rows are stored in the order in which they were written, which is nearly that of their times: processes write in batches.
      if (Number(row.end_ms) < sinceMs) {
        older += 1
        isOver = older > MOST_OUT_OF_ORDER
        continue
      }
      older = 0
      if (read === (most?.[keep] ?? Number.POSITIVE_INFINITY)) {
        this.#leftOut += this.#countOf(keep, { upTo: before, sinceMs })
        isOver = true
        break
      }
      read += 1
      events.push(...this.read(row))
    }
    if (!isOver && rows === PIECE_ROWS) return { events, gaps: this.gaps, next: { keep, before, read, older } }
    const following = KEEP_CLASSES[KEEP_CLASSES.indexOf(keep) + 1]
    if (following === undefined) return { events, gaps: this.gaps }
    return { events, gaps: this.gaps, next: { keep: following, before: Number.MAX_SAFE_INTEGER, read: 0, older: 0 } }
  }

  /** Events of `SELECT * FROM event WHERE …`. @param where What follows `WHERE`, an `ORDER BY` included. */
  *where(where: string, ...values: SQLInputValue[]): Generator<GatewatchEvent> {
    for (const row of this.#database.prepare(`SELECT * FROM event WHERE ${where}`).iterate(...values)) yield* this.read(row)
  }

  /** The event of a row with all columns of `event`, or nothing for a damaged one, which is counted. */
  read(row: EventStoreRow): readonly GatewatchEvent[] {
    const event = eventOfRow(row, {
      stackText: id => (this.#withStacks ? this.stackText(id) : undefined),
      processOf: id => this.processOf(id),
    })
    if (!event) this.#unreadable += 1
    return event ? [event] : []
  }

  /** The text of a stack, if it is stored. */
  stackText(stackId: string): string | undefined {
    if (this.#stacks.has(stackId)) return this.#stacks.get(stackId)
    if (this.#stacks.size >= MOST_STACKS) this.#stacks.clear()
    const text = this.#stackOf.get(stackId)?.text
    const known = typeof text === 'string' ? text : undefined
    this.#stacks.set(stackId, known)
    return known
  }

  /** The process that a row names; `undefined` for one that the event outlived. */
  processOf(id: number): EventProcess | undefined {
    if (this.#processes.size === 0) {
      for (const row of this.#database.prepare('SELECT id, pid, role, started_ms, title, host FROM process').all())
        this.#processes.set(Number(row.id), eventProcessOf(row))
    }
    return this.#processes.get(id)
  }

  #countOf(keep: KeepClass, { upTo, sinceMs }: { readonly upTo: number; readonly sinceMs: number }): number {
    const query = 'SELECT count(*) AS count FROM event WHERE keep = ? AND id <= ? AND end_ms >= ?'
    return Number(this.#database.prepare(query).get(keep, upTo, sinceMs)?.count ?? 0)
  }
}
