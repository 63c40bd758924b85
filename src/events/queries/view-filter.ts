import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { TOKEN_REQUEST_OUTCOMES } from '../../domain/enums.ts'
import { EVENT_KINDS } from '../../domain/events.ts'
import { isSuccess } from '../../domain/token-request-outcome.ts'

/** Which events a view shows. A word that is absent does not matter; `unknown` is the profile of events that name none. */
export interface ViewFilter {
  /** Length of the time that is looked at, up to `toMs`; it begins with the oldest event at the earliest. `Infinity` for all of it. */
  readonly windowMs: number
  /** Beginning of the time that is looked at in place of `windowMs`, epoch ms. */
  readonly fromMs?: number
  readonly toMs: number
  readonly profile?: string
  readonly reason?: string
  readonly outcome?: string
  readonly via?: string
  readonly caller?: string
  readonly stack?: string
  /** `file:line` of a frame that must be on the stack. */
  readonly frame?: string
}

/** The time that a view shows. */
export interface ViewRange {
  readonly fromMs: number
  readonly toMs: number
  /** Hours of it since the store was begun: a process that began five minutes ago has no rate for the hour. */
  readonly hours: number
}

/** A condition with the named parameters that it uses. */
export interface SqlCondition {
  readonly where: string
  readonly values: Readonly<Record<string, SQLInputValue>>
}

/** Refreshes: token requests of another grant are none, and of acquisitions only those that were answered with another caller's answer. */
export const IS_REFRESH = "via IS NOT NULL AND grant_type IS NOT 'other'"
/** A refresh that brought no token. */
export const IS_FAILED_REFRESH = `(is_error = 1 OR outcome IN (${TOKEN_REQUEST_OUTCOMES.filter(outcome => !isSuccess(outcome))
  .map(outcome => `'${outcome}'`)
  .join(', ')}))`

/** A time to look back to must be a moment of our days: a wrong one must not make a million empty steps. */
const OLDEST_MS = Date.UTC(2020)
const SHORTEST_MS = 60_000
/** Points of a curve; more cannot be distinguished on a screen. */
const MOST_POINTS = 240
/** Steps of curves begin at round times: multiples of five seconds within an hour, of a minute within a day, of a quarter of an hour beyond. */
const ROUND_STEPS = [
  { stepMs: 5_000, upToMs: 3_600_000 },
  { stepMs: 60_000, upToMs: 86_400_000 },
] as const
const COARSEST_STEP_MS = 900_000

/** Rows of a query, with the names of its columns. */
export function selectRows<Row>(database: DatabaseSync, sql: string, values: SqlCondition['values'] = {}): Row[] {
  return database.prepare(sql).all(values) as unknown as Row[]
}

/**
 * Runs a query that looks into the JSON text `rest`. Where a damaged row breaks it, it runs again without the damaged ones:
 * checking each text takes as long as reading it.
 *
 * @param run Gets the expression for `rest`.
 */
export function readingRest<T>(run: (rest: string) => T): T {
  try {
    return run('rest')
  } catch (error) {
    if (!(error instanceof Error && error.message.includes('malformed JSON'))) throw error
    return run("iif(json_valid(rest), rest, '{}')")
  }
}

/** When the oldest stored event began; `undefined` where none is stored. */
export function oldestEventMs(database: DatabaseSync): number | undefined {
  // One look at the index for each kind; over all of them at once it would be a walk through the store.
  const oldest = database.prepare('SELECT min(start_ms) AS at FROM event WHERE kind = ?')
  const found = EVENT_KINDS.map(kind => oldest.get(kind)?.at).filter(at => typeof at === 'number')
  return found.length === 0 ? undefined : Math.min(...found)
}

/** Time in which nothing was recorded yet would be an empty stretch in every chart, and no rate. */
export function viewRange(database: DatabaseSync, { fromMs, toMs, windowMs }: ViewFilter): ViewRange {
  const sinceMs = oldestEventMs(database)
  const beganMs = Math.min(sinceMs ?? 0, toMs - SHORTEST_MS)
  const from = fromMs ?? Math.max(beganMs, toMs - windowMs, OLDEST_MS)
  return { fromMs: from, toMs, hours: Math.max(toMs - Math.max(from, sinceMs ?? from), 1_000) / 3_600_000 }
}

/** The refreshes of a view. */
export function refreshCondition(filter: ViewFilter, range: ViewRange): SqlCondition {
  const { outcome, via, stack, frame } = filter
  const common = callerCondition(filter, range)
  const parts = [IS_REFRESH, common.where]
  const values: Record<string, SQLInputValue> = { ...common.values }
  if (outcome !== undefined) parts.push("coalesce(outcome, '') = :outcome")
  if (via !== undefined) parts.push('via = :via')
  if (stack !== undefined) parts.push('stack_id = :stack')
  // A frame is `name (file:line:column)`, or the place alone.
  if (frame !== undefined)
    parts.push(`stack_id IN (SELECT stack_id FROM stack
      WHERE instr(char(10) || replace(replace(text, ' ', char(10)), '(', char(10)), char(10) || :frame || ':') > 0)`)
  for (const [name, value] of Object.entries({ outcome, via, stack, frame })) if (value !== undefined) values[name] = value
  return { where: parts.join(' AND '), values }
}

/** Events of a view by what acquisitions and refreshes have in common: time, profile, caller and reason. */
export function callerCondition({ profile, reason, caller }: ViewFilter, { fromMs, toMs }: ViewRange): SqlCondition {
  const parts = ['start_ms BETWEEN :fromMs AND :toMs']
  const values: Record<string, SQLInputValue> = { fromMs, toMs }
  for (const [column, value] of Object.entries({ profile, reason, caller })) {
    if (value === undefined) continue
    parts.push(value === 'unknown' ? `coalesce(${column}, 'unknown') = :${column}` : `${column} = :${column}`)
    values[column] = value
  }
  return { where: parts.join(' AND '), values }
}

/** The steps of a curve over a time. */
export interface TimeSteps {
  readonly stepMs: number
  /** When each step begins; the first at or before the beginning of the time. */
  readonly atMs: readonly number[]
}

/** At most `MOST_POINTS` steps of equal length. */
export function timeSteps({ fromMs, toMs }: ViewRange): TimeSteps {
  const roundMs = ROUND_STEPS.find(({ upToMs }) => toMs - fromMs <= upToMs)?.stepMs ?? COARSEST_STEP_MS
  const startMs = Math.floor(fromMs / roundMs) * roundMs
  const stepMs = roundMs * Math.max(1, Math.ceil(Math.ceil((toMs - startMs + 1) / roundMs) / MOST_POINTS))
  const count = Math.ceil((toMs - startMs + 1) / stepMs)
  return { stepMs, atMs: Array.from({ length: count }, (_, index) => startMs + index * stepMs) }
}
