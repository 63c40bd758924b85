import { ATTR_REFRESH_RETAINED } from '../../otel/semconv.ts'
import type { ProcessRow } from './process-row.ts'
import { isRefresh, refreshRow } from './refresh-row.ts'
import type { SpanRow } from './span-row.ts'

/** One refresh token that was sent to a token endpoint, by its fingerprint. */
export interface TokenRequestRow {
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
  readonly process: ProcessRow | undefined
}

/** The token that the span of a refresh sent; `undefined` where none was seen. */
export function tokenRequestRow(row: SpanRow): TokenRequestRow | undefined {
  if (!isRefresh(row)) return undefined
  const { fingerprintBefore, atMs, durationMs, provider, profile, caller, reason, via, outcome, replay, traceId, spanId } = refreshRow(row)
  if (fingerprintBefore === undefined) return undefined
  const retained = row.attributes[ATTR_REFRESH_RETAINED] === true || outcome === 'renewed'
  const sent = { fingerprint: fingerprintBefore, atMs, durationMs, provider, profile, caller, reason, via, outcome }
  return { ...sent, retained, knownReplay: replay, traceId, spanId, process: row.process }
}
