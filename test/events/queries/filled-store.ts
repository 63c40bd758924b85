import { DatabaseSync } from 'node:sqlite'
import type { GatewatchEvent } from '../../../src/domain/events.ts'
import { rowOfEvent } from '../../../src/events/event-row.ts'
import { CREATE_EVENT_SCHEMA } from '../../../src/events/event-schema.ts'
import { afterwards } from '../../support/clean-up.ts'

/** A moment of our days, at the beginning of a quarter of an hour. */
export const NOON = Date.UTC(2026, 10, 2, 12)
/** Everything that is stored, up to an hour after `NOON`. */
export const ALL = { windowMs: Number.POSITIVE_INFINITY, toMs: NOON + 3_600_000 }

type EventOf<Kind extends GatewatchEvent['kind']> = Extract<GatewatchEvent, { kind: Kind }>
/** Fields of an event that a test cares about. */
export type EventFields<Kind extends GatewatchEvent['kind']> = Partial<Omit<EventOf<Kind>, 'kind' | 'caller'>> & {
  readonly caller?: Partial<GatewatchEvent['caller']>
}

/** An event store in memory and what puts events into it; closed when the test is over. */
export function filledStore() {
  const database = new DatabaseSync(':memory:')
  afterwards(() => database.close())
  database.exec(CREATE_EVENT_SCHEMA)
  database.exec(`INSERT INTO process VALUES (1, 77, 'gateway', ${NOON}, 'agent.js', 'h', 0, ${NOON}, 0)`)
  const stack = database.prepare('INSERT OR IGNORE INTO stack VALUES (?, ?, 0)')
  let traces = 0

  function add<Kind extends GatewatchEvent['kind']>(kind: Kind, { caller, ...fields }: EventFields<Kind>): EventOf<Kind> {
    traces += 1
    const event = {
      ...{ kind, startMs: NOON, durationMs: 20, traceId: traceIdOf(traces), spanId: '1'.repeat(16), links: [], steps: [] },
      ...{ isError: false, standsFor: 1, caller: { label: 'src/a.ts#f', kind: 'code', ...caller } },
      ...fields,
    } as unknown as EventOf<Kind>
    const { columns, stacks } = rowOfEvent(event)
    for (const [id, text] of stacks) stack.run(id, text)
    const names = Object.keys(columns)
    database
      .prepare(`INSERT INTO event (process, ${names.join(', ')}) VALUES (1, ${names.map(() => '?').join(', ')})`)
      .run(...Object.values(columns))
    return event
  }

  return {
    database,
    add,
    refresh: (fields: EventFields<'token_request'> = {}) =>
      add('token_request', {
        grant: 'refresh',
        reason: 'expired',
        via: 'gate',
        outcome: 'rotated',
        provider: 'p',
        profile: 'p:a',
        ...fields,
      }),
    acquire: (fields: EventFields<'acquire'> = {}) => add('acquire', { reason: 'expired', decision: 'reuse', profile: 'p:a', ...fields }),
    attempt: (fields: EventFields<'attempt'> = {}) =>
      add('attempt', { outcome: 'ok', provider: 'p', profile: 'p:a', model: 'm', ...fields }),
    call: (fields: EventFields<'call'> = {}) => add('call', { profile: 'p:a', billing: 'subscription', ...fields }),
    /** Adds to a counter. */
    counted(name: string, labels: Readonly<Record<string, string>>, count: number, { firstMs = NOON, lastMs = NOON } = {}): void {
      const all = { caller: '', reason: '', via: '', outcome: '', decision: '', from_profile: '', to_profile: '', ...labels }
      const names = Object.keys(all)
      database
        .prepare(
          `INSERT INTO counter (name, ${names.join(', ')}, count, first_ms, last_ms) VALUES (?, ${names.map(() => '?').join(', ')}, ?, ?, ?)`,
        )
        .run(name, ...Object.values(all), count, firstMs, lastMs)
    },
  }
}

export function traceIdOf(number: number): string {
  return number.toString(16).padStart(32, '0')
}
