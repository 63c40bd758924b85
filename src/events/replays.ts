import { isSameProcessRow } from './process-row.ts'
import type { RecordedSpans } from './recorded-spans.ts'
import type { TokenRequestRow } from './token-request-row.ts'

/** A refresh token that was sent although another request had used it up, or was just using it up. */
export interface ReplayRow {
  readonly fingerprint: string
  /** The first request that may have used the token up; `undefined` when that was not seen, only known. */
  readonly first: TokenRequestRow | undefined
  /** The requests that sent it all the same, in order. Never empty. */
  readonly replays: readonly TokenRequestRow[]
  /** More than one process sent the token. */
  readonly acrossProcesses: boolean
}

/** Outcomes after which the provider may have given out the next token, whether we saw it or not. */
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

/**
 * Refresh tokens that were sent again after they had been rotated away, or by two at once: who, in which process, in
 * which order. The newest replay first.
 *
 * A retry after a refusal, and a token that its provider does not rotate, are none.
 */
export function replays(recorder: RecordedSpans, { sinceMs, most = 100 }: { sinceMs?: number; most?: number } = {}): ReplayRow[] {
  const tokens = Map.groupBy(recorder.repeatedSends(), ({ fingerprint }) => fingerprint)
  return [...tokens.values()]
    .map(replayOf)
    .filter(row => row !== undefined)
    .filter(row => sinceMs === undefined || lastMs(row) >= sinceMs)
    .sort((a, b) => lastMs(b) - lastMs(a))
    .slice(0, most)
}

function replayOf(unordered: readonly TokenRequestRow[]): ReplayRow | undefined {
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

function usesUp({ outcome, retained }: TokenRequestRow): boolean {
  return !retained && MAY_HAVE_ROTATED.has(outcome)
}

/** A request that had ended before the other one began is the retry's forerunner, not a replay. */
function comesAfter(send: TokenRequestRow, first: TokenRequestRow): boolean {
  if (send.atMs + send.durationMs <= first.atMs) return false
  // Where no process saw the rotation, a success shows that there had been none.
  return first.outcome === 'rotated' || !ROTATES.has(send.outcome)
}

function lastMs({ replays: again }: ReplayRow): number {
  return again.at(-1)?.atMs ?? 0
}
