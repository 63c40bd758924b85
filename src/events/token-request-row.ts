import { ATTR_REFRESH_RETAINED } from '../../otel/semconv.ts'
import type { TokenSend } from './queries/token-replays.ts'
import { isRefresh, refreshRow } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

/** The token that the span of a refresh sent; `undefined` where none was seen. */
export function tokenRequestRow(row: SpanRow): TokenSend | undefined {
  if (!isRefresh(row)) return undefined
  const { fingerprintBefore, atMs, durationMs, provider, profile, caller, reason, via, outcome, replay, traceId, spanId } = refreshRow(row)
  if (fingerprintBefore === undefined) return undefined
  const retained = row.attributes[ATTR_REFRESH_RETAINED] === true || outcome === 'renewed'
  const sent = { fingerprint: fingerprintBefore, atMs, durationMs, provider, profile, caller, reason, via, outcome }
  return { ...sent, retained, knownReplay: replay, traceId, spanId, process: row.process }
}
