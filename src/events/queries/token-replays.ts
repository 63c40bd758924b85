import type { DatabaseSync } from 'node:sqlite'
import type { EventProcess } from '../../domain/events.ts'
import { EventReader } from '../event-reader.ts'
import type { EventStoreRow } from '../event-row.ts'
import { isSameProcessRow } from '../process-row.ts'

/** One refresh token that was sent to a token endpoint, by its fingerprint. */
export interface TokenSend {
  readonly fingerprint: string
  readonly atMs: number
  readonly durationMs: number
  readonly provider: string | undefined
  readonly profile: string | undefined
  readonly caller: string
  readonly reason: string
  readonly via: string
  readonly outcome: string | undefined
  /** The answer held no new refresh token: this one stays good. */
  readonly retained: boolean
  /** It was known to have been rotated away when it was sent. */
  readonly knownReplay: boolean
  readonly traceId: string
  readonly spanId: string
  readonly process: EventProcess | undefined
}

/** A refresh token that was sent although another request had used it up, or was just using it up. */
export interface TokenReplay {
  readonly fingerprint: string
  /** The first request that may have used the token up; `undefined` when that was not seen, only known. */
  readonly first: TokenSend | undefined
  /** The requests that sent it all the same, in order. Never empty. */
  readonly replays: readonly TokenSend[]
  /** More than one process sent the token. */
  readonly acrossProcesses: boolean
}

/** Sent tokens looked at, the newest; more would be read by no caller. */
const MOST_SENDS = 50_000

/** Outcomes after which the provider may have given out the next token, whether that was seen or not. */
const MAY_HAVE_ROTATED: ReadonlySet<string | undefined> = new Set([
  'rotated',
  'lost',
  'timeout',
  'unreadable',
  'not_persisted',
  'identity_mismatch',
  undefined,
])
const ROTATES: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed'])

/** Which replays are wanted. */
export interface TokenReplayRange {
  readonly sinceMs?: number
  /** @default 100 */
  readonly most?: number
}

/** The replays among all that is stored. */
export function tokenReplays(database: DatabaseSync, range: TokenReplayRange = {}): TokenReplay[] {
  return replaysAmongSends(repeatedSends(database), range)
}

/**
 * Refresh tokens that were sent again after they had been rotated away, or by two at once: who, in which process, in
 * which order. The newest replay first.
 *
 * A retry after a refusal, and a token that its provider does not rotate, are none.
 */
export function replaysAmongSends(sends: Iterable<TokenSend>, { sinceMs, most = 100 }: TokenReplayRange = {}): TokenReplay[] {
  const tokens = Map.groupBy(sends, ({ fingerprint }) => fingerprint)
  return [...tokens.values()]
    .map(replayOf)
    .filter(row => row !== undefined)
    .filter(row => sinceMs === undefined || lastMs(row) >= sinceMs)
    .sort((a, b) => lastMs(b) - lastMs(a))
    .slice(0, most)
}

/** Refresh tokens that were sent more than once, or were known to be replayed: every time they were sent. */
function repeatedSends(database: DatabaseSync): TokenSend[] {
  const reader = new EventReader(database)
  const query = `SELECT * FROM event
    WHERE sent IN (SELECT sent FROM event WHERE sent IS NOT NULL
      GROUP BY sent HAVING (count(*) > 1 AND min(retained) = 0) OR max(replay) = 1)
    ORDER BY start_ms DESC LIMIT ${MOST_SENDS}`
  return database
    .prepare(query)
    .all()
    .map(row => sendOf(row, reader))
}

function sendOf(row: EventStoreRow, reader: EventReader): TokenSend {
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
  return {
    fingerprint: String(row.sent),
    atMs: Number(row.start_ms),
    durationMs: Number(row.duration_ms),
    provider: text(row.provider),
    profile: text(row.profile),
    caller: String(row.caller),
    reason: text(row.reason) ?? 'unknown',
    via: text(row.via) ?? 'gate',
    outcome: text(row.outcome),
    retained: row.retained === 1,
    knownReplay: row.replay === 1,
    traceId: String(row.trace_id),
    spanId: String(row.span_id),
    process: reader.processOf(Number(row.process)),
  }
}

function replayOf(unordered: readonly TokenSend[]): TokenReplay | undefined {
  const sends = unordered.toSorted((a, b) => a.atMs - b.atMs)
  const first = sends.find(send => send.outcome === 'rotated' && !send.retained) ?? sends.find(usesUp)
  const again = sends.filter(send => send.knownReplay || (first !== undefined && send !== first && comesAfter(send, first)))
  if (again.length === 0) return undefined
  const used = first && again.includes(first) ? undefined : first
  const [one, ...others] = used ? [used, ...again] : again
  return {
    fingerprint: again[0]?.fingerprint ?? '',
    first: used,
    replays: again,
    acrossProcesses: others.some(other => !isSameProcessRow(other.process, one?.process)),
  }
}

function usesUp({ outcome, retained }: TokenSend): boolean {
  return !retained && MAY_HAVE_ROTATED.has(outcome)
}

/** A request that had ended before the other one began is the retry's forerunner, not a replay. */
function comesAfter(send: TokenSend, first: TokenSend): boolean {
  if (send.atMs + send.durationMs <= first.atMs) return false
  // Where no process saw the rotation, a success shows that there had been none.
  return first.outcome === 'rotated' || !ROTATES.has(send.outcome)
}

function lastMs({ replays: again }: TokenReplay): number {
  return again.at(-1)?.atMs ?? 0
}
