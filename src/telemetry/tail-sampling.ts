import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_DECISION,
  ATTR_OUTCOME,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_FALLBACK,
  EVENT_REPLAY,
  EVENT_SKIPPED,
  SPAN_ACQUIRE,
  SPAN_DEVICE,
  SPAN_EXCHANGE,
  SPAN_IMPORT,
  SPAN_LOGIN,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_SIDE_CHANNEL,
} from '../../otel/semconv.ts'

const SPANS: ReadonlySet<string> = new Set([
  SPAN_REFRESH,
  SPAN_LOGIN,
  SPAN_IMPORT,
  SPAN_EXCHANGE,
  SPAN_DEVICE,
  SPAN_REVOKE,
  SPAN_SIDE_CHANNEL,
])
const EVENTS: ReadonlySet<string> = new Set([EVENT_BYPASS, EVENT_FALLBACK, EVENT_SKIPPED, EVENT_REPLAY])

/** Says whether a span of that name is always worth keeping: an OAuth operation. */
export function isAlwaysKeptSpan(name: string): boolean {
  return SPANS.has(name)
}

/** Says whether spans of that name are counted, whether their trace is kept or not: acquisitions, plain reuse included. */
export function isCountedSpan(name: string): boolean {
  return name === SPAN_ACQUIRE
}

/** Says whether a span on which this happened is worth keeping: a bypass, a fallback, a skipped profile, a replay. */
export function isAlwaysKeptEvent(name: string): boolean {
  return EVENTS.has(name)
}

/**
 * Says whether this attribute makes a span worth keeping: a bypass, an acquisition that was no plain reuse or had to do with a
 * refresh, an attempt that did not succeed.
 */
export function isAlwaysKeptAttribute(key: string, value: unknown): boolean {
  if (key === ATTR_DECISION) return value !== 'reuse'
  if (key === ATTR_VIA) return value === 'bypass'
  return key === ATTR_OUTCOME || (key === ATTR_ATTEMPT_OUTCOME && value !== 'ok')
}
