import { ATTR_DECISION, ATTR_OUTCOME, ATTR_VIA, SPAN_ACQUIRE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { isAlwaysKeptEvent, isAlwaysKeptSpan } from '../telemetry/tail-sampling.ts'
import { isBypass, isSharedRefresh } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

/** Says whether a span outlives the bulk: OAuth operations, acquisitions that were no plain reuse, bypasses, errors, fallbacks, skips. */
export function isInteresting(row: SpanRow): boolean {
  return row.status === 'error' || isOAuthSpan(row) || row.events.some(({ name }) => isAlwaysKeptEvent(name))
}

/** Says whether a span describes an OAuth operation, through the gate or past it. */
export function isOAuthSpan(row: SpanRow): boolean {
  if (row.name === SPAN_ACQUIRE) return row.attributes[ATTR_DECISION] !== 'reuse' || isSharedRefresh(row)
  return isAlwaysKeptSpan(row.name) || isBypass(row)
}

/** Says whether a span is of a refresh that this process made itself, through its gate: no other process knows how it ended. */
export function isOwnRefresh({ name, attributes }: SpanRow): boolean {
  return name === SPAN_REFRESH && attributes[ATTR_VIA] === 'gate' && attributes[ATTR_OUTCOME] !== 'reused'
}
