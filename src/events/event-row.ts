import { PROCESS_ROLES, type ProcessRole } from '../domain/enums.ts'
import { EVENT_KINDS, type EventCaller, type EventProcess, type EventStep, type GatewatchEvent } from '../domain/events.ts'
import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import type { EventColumn, KeepClass } from './event-schema.ts'
import { keepClassOf } from './keep-class.ts'

/** A row of a query, or a part of one. */
export type EventStoreRow = Readonly<Record<string, unknown>>

/** The columns and stacks that are written of an event. */
export interface WrittenEvent {
  readonly keep: KeepClass
  readonly columns: Readonly<Record<Exclude<EventColumn, 'process'>, string | number | null>>
  /** Text of each stack of the event and its steps, by stack id. */
  readonly stacks: ReadonlyMap<string, string>
}

/** Looks up what rows name: the text of a stack, a process. */
export interface RowReferences {
  readonly stackText: (stackId: string) => string | undefined
  readonly processOf: (id: number) => EventProcess | undefined
}

const KINDS: ReadonlySet<string> = new Set(EVENT_KINDS)

/** The columns of an event. @throws {TypeError} when the event cannot be written as JSON. */
export function rowOfEvent(event: GatewatchEvent): WrittenEvent {
  const stacks = new Map<string, string>()
  const keep = keepClassOf(event)
  const { kind, startMs, durationMs, traceId, spanId, parentSpanId, provider, profile, isError, standsFor, ...more } = event
  const { caller, steps, links, process: _process, ...fields } = more
  const { label, kind: callerKind, stackId, ...place } = withoutStack(caller, stacks)
  const { grant, reason, via, outcome, decision, model, billing, refreshFingerprintBefore, ...rest } = fields as Record<string, unknown>
  return {
    keep,
    columns: {
      kind,
      keep,
      start_ms: startMs,
      end_ms: startMs + durationMs,
      duration_ms: durationMs,
      trace_id: traceId,
      span_id: spanId,
      parent_span_id: parentSpanId ?? null,
      provider: provider ?? null,
      profile: profile ?? null,
      caller: label,
      caller_kind: callerKind,
      stack_id: stackId ?? null,
      grant_type: textOrNull(grant),
      reason: textOrNull(reason),
      via: textOrNull(via),
      outcome: textOrNull(outcome),
      decision: textOrNull(decision),
      model: textOrNull(model),
      billing: textOrNull(billing),
      sent: textOrNull(refreshFingerprintBefore),
      retained: Number(rest.refreshTokenRetained === true || outcome === 'renewed'),
      replay: Number(rest.replay === true),
      is_error: Number(isError),
      stands_for: standsFor,
      rest: JSON.stringify({
        ...rest,
        ...(Object.keys(place).length > 0 && { caller: place }),
        ...(steps.length > 0 && {
          steps: steps.map(step => (step.caller ? { ...step, caller: withoutStack(step.caller, stacks) } : step)),
        }),
        ...(links.length > 0 && { links }),
      }),
    },
    stacks,
  }
}

/**
 * The event of a row that holds all columns.
 *
 * @returns `undefined` for one that is damaged: no JSON, a part missing, or a time that is none. What a later reader relies on is
 *   checked here, once, so that a bad byte costs one row and not the whole answer.
 */
export function eventOfRow(row: EventStoreRow, { stackText, processOf }: RowReferences): GatewatchEvent | undefined {
  const rest = parseJsonObject(String(row.rest))
  if (!rest || !isWhole(row, rest)) return undefined
  const { caller = {}, steps = [], links = [], ...fields } = rest as { caller?: object; steps?: readonly EventStep[]; links?: unknown }
  const known = (stackId: unknown): object => {
    const stack = typeof stackId === 'string' ? stackText(stackId) : undefined
    return stack === undefined ? {} : { stack }
  }
  return {
    ...fields,
    ...columnFields(row),
    caller: {
      ...caller,
      label: row.caller,
      kind: row.caller_kind,
      ...(row.stack_id !== null && { stackId: row.stack_id, ...known(row.stack_id) }),
    },
    steps: steps.map(step => (step.caller?.stackId ? { ...step, caller: { ...step.caller, ...known(step.caller.stackId) } } : step)),
    links,
    process: processOf(Number(row.process)),
  } as unknown as GatewatchEvent
}

/** The process of a row of `process`. */
export function eventProcessOf({ pid, role, started_ms: startedMs, title, host }: EventStoreRow): EventProcess {
  const known = PROCESS_ROLES.find(word => word === role) ?? ('unknown' satisfies ProcessRole)
  return { pid: Number(pid), role: known, startedMs: Number(startedMs), title: String(title), host: String(host) }
}

/** Fields that have columns of their own, where the column is set. */
function columnFields(row: EventStoreRow): Record<string, unknown> {
  const fields: Record<string, unknown> = {
    kind: row.kind,
    startMs: row.start_ms,
    durationMs: row.duration_ms,
    traceId: row.trace_id,
    spanId: row.span_id,
    isError: row.is_error === 1,
    standsFor: row.stands_for,
  }
  for (const [column, field] of OPTIONAL_COLUMNS) if (row[column] !== null && row[column] !== undefined) fields[field] = row[column]
  return fields
}

const OPTIONAL_COLUMNS: readonly (readonly [column: EventColumn, field: string])[] = [
  ['parent_span_id', 'parentSpanId'],
  ['provider', 'provider'],
  ['profile', 'profile'],
  ['grant_type', 'grant'],
  ['reason', 'reason'],
  ['via', 'via'],
  ['outcome', 'outcome'],
  ['decision', 'decision'],
  ['model', 'model'],
  ['billing', 'billing'],
  ['sent', 'refreshFingerprintBefore'],
]

/** Furthest moment that a date can name, in ms before or after the epoch (ECMA-262, Time Values). */
const FURTHEST_MS = 8.64e15

function isWhole(row: EventStoreRow, { caller, steps, links }: Record<string, unknown>): boolean {
  return (
    KINDS.has(String(row.kind)) &&
    isMoment(row.start_ms) &&
    isMoment(row.duration_ms) &&
    isMoment(row.start_ms + row.duration_ms) &&
    (caller === undefined || isJsonObject(caller)) &&
    (steps === undefined || (Array.isArray(steps) && steps.every(isStep))) &&
    (links === undefined || (Array.isArray(links) && links.every(isLink)))
  )
}

function isStep(step: unknown): boolean {
  return (
    isJsonObject(step) && typeof step.name === 'string' && isMoment(step.atMs) && (step.caller === undefined || isJsonObject(step.caller))
  )
}

function isLink(link: unknown): boolean {
  return isJsonObject(link) && typeof link.traceId === 'string' && typeof link.spanId === 'string'
}

function isMoment(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= FURTHEST_MS
}

function withoutStack({ stack, ...caller }: EventCaller, stacks: Map<string, string>): Omit<EventCaller, 'stack'> {
  if (stack === undefined) return caller
  // Without an id there is nothing to name the text by.
  if (caller.stackId === undefined) return { ...caller, stack } as EventCaller
  stacks.set(caller.stackId, stack)
  return caller
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
