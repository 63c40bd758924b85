import { ATTR_CALLER_KIND } from '../../otel/semconv.ts'
import type { ProcessRow } from '../events/process-row.ts'
import { framesOf } from '../events/queries/stack-frames.ts'
import type { RecordedSpans } from '../events/recorded-spans.ts'
import { bypassRow, isBypass } from '../events/refresh-row.ts'
import { replays } from '../events/replays.ts'
import type { SpanRow } from '../events/span-row.ts'
import type { TokenRequestRow } from '../events/token-request-row.ts'
import type { Aggregates } from './aggregates.ts'
import type { BypassesAnswer, BypassLine, ReplayLine, SendLine, ShapeLine } from './api-types.ts'
import { matchingRefreshes, type QueryParams } from './query-params.ts'

const MOST_LINES = 100

/** Token requests that went past the gate, and tokens that were sent again, the newest first. */
export function bypassesAnswer(records: RecordedSpans, aggregates: Aggregates, query: QueryParams): BypassesAnswer {
  const lines: BypassLine[] = []
  for (const span of records.refreshSpans({ via: 'bypass', sinceMs: query.fromMs, ...wordsOf(query) })) {
    if (lines.length >= MOST_LINES) break
    if (!isBypass(span)) continue
    const line = bypassLine(span, aggregates)
    if (line.atMs >= query.fromMs && line.atMs <= query.toMs && isWanted(line, query)) lines.push(line)
  }
  let total = 0
  for (const _fact of matchingRefreshes(aggregates, { ...query, via: 'bypass' })) total += 1
  return { total: Math.max(total, lines.length), bypasses: lines, replays: replayLines(records, query) }
}

function bypassLine(span: SpanRow, aggregates: Aggregates): BypassLine {
  const row = bypassRow(span)
  const { atMs, durationMs, caller, reason, via, replay, traceId, status, shape } = row
  const profile = row.profile ?? 'unknown'
  const provider = row.provider ?? 'unknown'
  const good = aggregates.goodShape(provider, profile)
  return {
    ...{ atMs, durationMs, caller, reason, via, replay, traceId, status, provider, profile },
    outcome: row.outcome ?? '',
    failed: span.status === 'error',
    policy: row.policy ?? '',
    providerCode: row.providerCode ?? '',
    file: row.file ?? '',
    line: row.line ?? 0,
    process: processText(span.process),
    stack: framesOf(row.stack, { file: row.file, line: row.line, isCode: span.attributes[ATTR_CALLER_KIND] === 'code' }),
    shape: shape === undefined ? undefined : { fields: fieldsOf(shape), atMs, traceId, caller },
    good: good && good.fact.traceId !== traceId ? summarizeRequest(good) : undefined,
  }
}

function summarizeRequest({ shape, fact }: { shape: string; fact: { atMs: number; traceId: string; caller: string } }): ShapeLine {
  return { fields: fieldsOf(shape), atMs: fact.atMs, traceId: fact.traceId, caller: fact.caller }
}

/** The recorder writes `client_id=opaque:12 grant_type=refresh_token`. */
function fieldsOf(shape: string): ShapeLine['fields'] {
  return shape
    .split(' ')
    .filter(part => part !== '')
    .map(part => {
      const cut = part.search(/[=:]/)
      return cut < 0 ? { name: part, value: '' } : { name: part.slice(0, cut), value: part.slice(cut + 1) }
    })
}

function replayLines(records: RecordedSpans, query: QueryParams): ReplayLine[] {
  return replays(records, { sinceMs: query.fromMs, most: MOST_LINES })
    .map(({ fingerprint, acrossProcesses, first, replays: again }) => ({
      fingerprint,
      acrossProcesses,
      first: first && sendLine(first),
      again: again.map(sendLine).filter(({ atMs }) => atMs <= query.toMs),
    }))
    .filter(({ first, again }) => again.some(line => isWanted(line, query)) || (first !== undefined && isWanted(first, query)))
}

function sendLine({ atMs, caller, reason, via, outcome, profile, process, traceId }: TokenRequestRow): SendLine {
  return { atMs, caller, reason, via, outcome: outcome ?? '', profile: profile ?? 'unknown', process: processText(process), traceId }
}

/** How a process is shown to people; empty where spans come from this one alone. */
export function processText(process: ProcessRow | undefined): string {
  return process ? `${process.title} (${process.role}, pid ${process.pid})` : ''
}

function wordsOf({ profile, reason, outcome, caller }: QueryParams): {
  profile?: string
  reason?: string
  outcome?: string
  caller?: string
} {
  // A span that does not say is `unknown` here and empty in the recorder: such words are looked at below.
  return {
    ...(profile !== '' && profile !== 'unknown' && { profile }),
    ...(reason !== '' && { reason }),
    ...(outcome !== '' && { outcome }),
    ...(caller !== '' && { caller }),
  }
}

function isWanted(line: { profile: string; reason: string; outcome: string; caller: string }, query: QueryParams): boolean {
  return (['profile', 'reason', 'outcome', 'caller'] as const).every(word => query[word] === '' || line[word] === query[word])
}
