import { ATTR_DECISION, ATTR_OUTCOME, ATTR_VIA, SPAN_REFRESH, SPAN_VISIT } from '../../otel/semconv.ts'
import { isEventfulEvent, isEventfulSpan } from '../telemetry/tail-sampling.ts'
import { isBypass, isSharedRefresh } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

/** Says whether a span outlives the bulk: OAuth operations, visits that were no plain reuse, bypasses, errors, fallbacks, skips. */
export function isInteresting(row: SpanRow): boolean {
  return row.status === 'error' || isOAuth(row) || row.events.some(({ name }) => isEventfulEvent(name))
}

/** Says whether a span tells of an OAuth operation, through the gate or past it. */
export function isOAuth(row: SpanRow): boolean {
  if (row.name === SPAN_VISIT) return row.attributes[ATTR_DECISION] !== 'reuse' || isSharedRefresh(row)
  return isEventfulSpan(row.name) || isBypass(row)
}

/** Says whether a span is of a refresh that this process made itself, through its gate: nobody else can tell how it ended. */
export function isOwnRefresh({ name, attributes }: SpanRow): boolean {
  return name === SPAN_REFRESH && attributes[ATTR_VIA] === 'gate' && attributes[ATTR_OUTCOME] !== 'reused'
}
