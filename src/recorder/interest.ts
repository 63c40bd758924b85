import {
  ATTR_DECISION,
  EVENT_BYPASS,
  EVENT_FALLBACK,
  EVENT_REPLAY,
  EVENT_SKIPPED,
  SPAN_EXCHANGE,
  SPAN_LOGIN,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_SIDE_DOOR,
  SPAN_VISIT,
} from '../../otel/names.ts'
import { isBypass } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

const INTERESTING_SPANS: ReadonlySet<string> = new Set([SPAN_REFRESH, SPAN_LOGIN, SPAN_EXCHANGE, SPAN_REVOKE, SPAN_SIDE_DOOR])
const INTERESTING_EVENTS: ReadonlySet<string> = new Set([EVENT_BYPASS, EVENT_FALLBACK, EVENT_SKIPPED, EVENT_REPLAY])

/** Says whether a span outlives the bulk: OAuth operations, visits that were no plain reuse, bypasses, errors, fallbacks, skips. */
export function isInteresting(row: SpanRow): boolean {
  if (row.status === 'error' || INTERESTING_SPANS.has(row.name)) return true
  if (row.name === SPAN_VISIT) return row.attributes[ATTR_DECISION] !== 'reuse'
  return isBypass(row) || row.events.some(({ name }) => INTERESTING_EVENTS.has(name))
}
