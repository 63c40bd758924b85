import type { DatabaseSync } from 'node:sqlite'
import type { TokenRequestEvent } from '../../domain/events.ts'
import { EventReader } from '../event-reader.ts'
import type { BypassesAnswer, BypassLine, ReplayLine, SendLine, ShapeLine } from './answers.ts'
import { weightedCount } from './callers.ts'
import { type TokenSend, tokenReplays } from './token-replays.ts'
import { callerFrames, describeProcess } from './trace.ts'
import { IS_FAILED_REFRESH, IS_REFRESH, refreshCondition, type ViewFilter, viewRange } from './view-filter.ts'

const MOST_LINES = 100
/** Good refreshes, the newest, among which one is looked for to compare a bypass with. */
const MOST_COMPARED = 2_000

/** Token requests that went past the gate, and refresh tokens that were sent again, the newest first. */
export function gateBypasses(database: DatabaseSync, filter: ViewFilter): BypassesAnswer {
  const range = viewRange(database, filter)
  const condition = refreshCondition({ ...filter, via: 'bypass' }, range)
  const reader = new EventReader(database)
  const rows = database
    .prepare(`SELECT * FROM event WHERE kind = 'token_request' AND ${condition.where} ORDER BY start_ms DESC LIMIT ${MOST_LINES}`)
    .all(condition.values)
  const events = rows.flatMap(row => reader.read(row)) as TokenRequestEvent[]
  const good = goodRequests(reader, events)
  return {
    total: weightedCount(database, condition),
    bypasses: events.map(event => bypassLine(event, good)),
    replays: replayLines(database, filter, range.fromMs),
  }
}

/** Token requests that were answered with a token and whose fields were seen, by provider, and by provider and profile. */
type GoodRequests = ReadonlyMap<string, TokenRequestEvent>

function goodRequests(reader: EventReader, bypasses: readonly TokenRequestEvent[]): GoodRequests {
  const wanted = new Set(bypasses.flatMap(keysOf))
  const good = new Map<string, TokenRequestEvent>()
  const where = `kind = 'token_request' AND ${IS_REFRESH} AND outcome IS NOT NULL AND NOT ${IS_FAILED_REFRESH}
    ORDER BY start_ms DESC LIMIT ${wanted.size === 0 ? 0 : MOST_COMPARED}`
  for (const event of reader.where(where) as Iterable<TokenRequestEvent>) {
    if (event.requestFields === undefined) continue
    for (const key of keysOf(event)) {
      if (!wanted.delete(key)) continue
      good.set(key, event)
    }
    if (wanted.size === 0) break
  }
  return good
}

/** The same profile goes before another one of the provider. */
function keysOf({ provider = 'unknown', profile = 'unknown' }: TokenRequestEvent): readonly string[] {
  return [`${provider}\0${profile}`, provider]
}

function bypassLine(event: TokenRequestEvent, good: GoodRequests): BypassLine {
  const {
    startMs: atMs,
    durationMs,
    caller,
    reason,
    via,
    outcome = '',
    traceId,
    isError: failed,
    profile = 'unknown',
    provider = 'unknown',
  } = event
  const compared = keysOf(event)
    .map(key => good.get(key))
    .find(request => request !== undefined)
  return {
    ...{ atMs, durationMs, reason, via, outcome, traceId, failed, profile, provider },
    caller: caller.label,
    replay: event.replay === true,
    policy: event.policy ?? '',
    status: event.httpStatus,
    providerCode: event.providerErrorCode ?? '',
    file: caller.file ?? '',
    line: caller.line ?? 0,
    process: describeProcess(event.process),
    stack: callerFrames(event),
    shape: shapeOf(event),
    good: compared && compared.traceId !== traceId ? shapeOf(compared) : undefined,
  }
}

function shapeOf({ requestFields, startMs: atMs, traceId, caller }: TokenRequestEvent): ShapeLine | undefined {
  return requestFields === undefined ? undefined : { fields: fieldsOf(requestFields), atMs, traceId, caller: caller.label }
}

/** Of `client_id=opaque:12 grant_type=refresh_token`. */
function fieldsOf(shape: string): ShapeLine['fields'] {
  return shape
    .split(' ')
    .filter(part => part !== '')
    .map(part => {
      const cut = part.search(/[=:]/)
      return cut < 0 ? { name: part, value: '' } : { name: part.slice(0, cut), value: part.slice(cut + 1) }
    })
}

function replayLines(database: DatabaseSync, filter: ViewFilter, fromMs: number): ReplayLine[] {
  const isWanted = (line: SendLine) =>
    (['profile', 'reason', 'outcome', 'caller'] as const).every(word => filter[word] === undefined || line[word] === filter[word])
  return tokenReplays(database, { sinceMs: fromMs, most: MOST_LINES })
    .map(({ fingerprint, acrossProcesses, first, replays }) => ({
      fingerprint,
      acrossProcesses,
      first: first && sendLine(first),
      again: replays.map(sendLine).filter(({ atMs }) => atMs <= filter.toMs),
    }))
    .filter(({ first, again }) => again.some(isWanted) || (first !== undefined && isWanted(first)))
}

function sendLine({ atMs, caller, reason, via, outcome, profile, process, traceId }: TokenSend): SendLine {
  return { atMs, caller, reason, via, outcome: outcome ?? '', profile: profile ?? 'unknown', process: describeProcess(process), traceId }
}
