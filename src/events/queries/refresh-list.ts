import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import type { BypassPolicy, Decision, ProcessRole, RefreshReason, TokenRequestOutcome, Uncertainty, Via } from '../../domain/enums.ts'
import type { AcquireEvent, GatewatchEvent, TokenRequestEvent } from '../../domain/events.ts'
import { type EventGaps, EventReader } from '../event-reader.ts'
import { isRefreshEvent } from '../keep-class.ts'

/** One word, or any of several. */
export type ListFilterValue = string | readonly string[]

/** Which refreshes are wanted; what is left out does not matter. */
export interface RefreshListFilter {
  readonly provider?: ListFilterValue
  readonly profile?: ListFilterValue
  readonly caller?: ListFilterValue
  readonly reason?: ListFilterValue
  readonly via?: ListFilterValue
  readonly outcome?: ListFilterValue
  /** A part of the caller: its file, its function. */
  readonly callerPart?: string
  /** Not before this moment, epoch milliseconds. */
  readonly sinceMs?: number
  /** Rows at most. @default 100 */
  readonly most?: number
  /** Only those that were written after this mark, in the order in which they were. */
  readonly after?: number
}

/** One refresh, through the gate or around it. What an event did not say is `undefined`. */
export interface ListedRefresh {
  readonly atMs: number
  readonly durationMs: number
  readonly provider: string | undefined
  readonly profile: string | undefined
  readonly caller: string
  readonly reason: RefreshReason
  readonly via: Via
  /** Why `via` is `uncertain`. */
  readonly uncertainty?: Uncertainty
  /** Of a bypass: whether the declared gate had been seen in its process before. */
  readonly gateSeen?: boolean
  /** Of a bypass: what is done about it. */
  readonly policy?: BypassPolicy
  readonly outcome: TokenRequestOutcome | undefined
  /** What a watched process was given in place of a request of its own; absent for what was sent. */
  readonly decision?: Decision | 'unknown'
  /** Callers who waited for this refresh although another caller began it, as `file#function:line`; seen with deep stacks. */
  readonly joinedBy?: readonly string[]
  /** HTTP status of the token endpoint's answer. */
  readonly status: number | undefined
  /** The provider's own error code. */
  readonly providerCode: string | undefined
  /** The refresh token that was sent had been rotated away before. */
  readonly replay: boolean
  /** Fingerprint of the refresh token that was sent, and of the one that came back. */
  readonly fingerprintBefore: string | undefined
  readonly fingerprintAfter: string | undefined
  /** Fields of the request with the class of each value, where it was seen on its way out. */
  readonly shape: string | undefined
  readonly file: string | undefined
  readonly line: number | undefined
  readonly stack: string | undefined
  readonly stackId: string | undefined
  readonly traceId: string
  readonly spanId: string
  /** The process that refreshed: its id, what it is, the script it runs. */
  readonly pid?: number
  readonly role?: ProcessRole
  readonly title?: string
}

export interface RefreshListAnswer {
  readonly refreshes: readonly ListedRefresh[]
  /** Where the store ends now: a mark for `after`. */
  readonly mark: number
  readonly gaps: EventGaps
}

const MOST_LISTED = 100
const FILTER_COLUMNS = ['provider', 'profile', 'caller', 'reason', 'via', 'outcome'] as const

/** Recent refreshes, through the gate or not, the newest first; after a mark, in the order of their writing. */
export function refreshList(database: DatabaseSync, filter: RefreshListFilter = {}): RefreshListAnswer {
  const { most = MOST_LISTED, after } = filter
  const reader = new EventReader(database)
  const { conditions, values } = conditionsOf(filter)
  const order = after === undefined ? 'ORDER BY start_ms DESC' : 'ORDER BY id'
  const refreshes: ListedRefresh[] = []
  const where = `kind IN ('token_request', 'acquire') AND (grant_type <> 'other' OR (kind = 'acquire' AND via IS NOT NULL)) ${conditions} ${order}`
  for (const event of reader.where(where, ...values)) {
    if (refreshes.length >= most) break
    if (isRefreshEvent(event)) refreshes.push(listedRefresh(event as TokenRequestEvent | AcquireEvent))
  }
  const mark = Number(database.prepare('SELECT max(id) AS mark FROM event').get()?.mark ?? 0)
  return { refreshes, mark, gaps: reader.gaps }
}

/** What a list says of one refresh. */
export function listedRefresh(event: TokenRequestEvent | AcquireEvent): ListedRefresh {
  const { caller, process } = event
  const joinedBy = joinersOf(event)
  return {
    atMs: event.startMs,
    durationMs: event.durationMs,
    provider: event.provider,
    profile: event.profile,
    caller: caller.label,
    reason: event.reason,
    via: event.via ?? 'gate',
    ...(event.uncertainty !== undefined && { uncertainty: event.uncertainty }),
    ...(event.kind === 'token_request' && event.gateSeen !== undefined && { gateSeen: event.gateSeen }),
    ...(event.policy !== undefined && { policy: event.policy }),
    outcome: event.outcome,
    status: event.httpStatus,
    providerCode: event.providerErrorCode,
    replay: event.replay === true,
    fingerprintBefore: event.refreshFingerprintBefore,
    fingerprintAfter: event.refreshFingerprintAfter,
    shape: event.requestFields,
    file: caller.file,
    line: caller.line,
    stack: caller.stack,
    stackId: caller.stackId,
    traceId: event.traceId,
    spanId: event.spanId,
    ...(joinedBy.length > 0 && { joinedBy }),
    ...(event.kind === 'acquire' && { decision: event.decision ?? 'unknown' }),
    ...(process && { pid: process.pid, role: process.role, title: process.title }),
  }
}

function joinersOf({ steps }: GatewatchEvent): string[] {
  return steps
    .filter(({ name }) => name === 'joined')
    .map(({ caller }) => [caller?.label ?? 'unknown', caller?.line].filter(part => part !== undefined).join(':'))
}

function conditionsOf({ sinceMs, callerPart, after, most: _most, ...words }: RefreshListFilter): {
  conditions: string
  values: SQLInputValue[]
} {
  const parts: string[] = []
  const values: SQLInputValue[] = []
  const add = (part: string, ...given: SQLInputValue[]) => {
    parts.push(`AND ${part}`)
    values.push(...given)
  }
  if (sinceMs !== undefined) add('start_ms >= ?', sinceMs)
  if (after !== undefined) add('id > ?', after)
  if (callerPart !== undefined) add('instr(caller, ?) > 0', callerPart)
  for (const column of FILTER_COLUMNS) {
    const wanted = words[column]
    if (wanted === undefined) continue
    const list = typeof wanted === 'string' ? [wanted] : wanted
    add(`${column} IN (${list.map(() => '?').join(', ')})`, ...list)
  }
  return { conditions: parts.join(' '), values }
}
