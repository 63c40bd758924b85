import type { Attributes } from '@opentelemetry/api'
import {
  ATTR_CREDENTIAL_GENERATION,
  ATTR_DECISION,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REASON_DECLARED,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_SERVER_ADDRESS,
  ATTR_UNCERTAINTY,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  SPAN_ACQUIRE,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { Decision } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'
import { type BufferedResponse, headersOf } from '../http-clients/buffered-response.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import { judgeTokenAnswer, type TokenVerdict } from '../token-requests/judge.ts'
import type { RequestSummary } from '../token-requests/request-summary.ts'
import type { TokenLineage } from '../token-requests/token-lineage.ts'
import { grantedRefresh } from '../token-requests/token-response.ts'
import type { CallerContext } from './caller-context.ts'
import type { GateCheck } from './gate-check.ts'
import { compact, type Measure, type Observation } from './observation.ts'

/** A refresh that was answered without a request of its own. */
export interface DeduplicatedRequestFacts {
  readonly service: KnownService
  readonly url: URL
  readonly gateCheck: GateCheck
  readonly callerContext: CallerContext
  readonly lineages: TokenLineage
  readonly shape: RequestSummary
  readonly refresh: Fingerprint
  readonly decision: Extract<Decision, 'join' | 'reuse' | 'adopt'>
}

/** How it ended: with an answer, or with an error in place of one. */
export type SharedEnd = { readonly answer: BufferedResponse } | { readonly error: unknown }

/**
 * What is reported about a caller who got another caller's answer: an acquisition, not a refresh, since nothing was sent. The token it
 * came with is not named on it for the same reason; the one it left with is.
 */
export function deduplicatedRequest(facts: DeduplicatedRequestFacts, end: SharedEnd): Observation {
  const { service, callerContext, lineages, refresh } = facts
  const reported = {
    end,
    durationMs: performance.now() - callerContext.startedAtMs,
    verdict: judge(end, service),
    asked: lineages.asked(service.id, refresh, callerContext.startMs),
  }
  return facts.gateCheck.observed(() => observe(facts, reported))
}

/** What is known of it when it has ended, whatever its stack turns out to be. */
interface Reported {
  readonly end: SharedEnd
  readonly durationMs: number
  readonly verdict: TokenVerdict
  readonly asked: ReturnType<TokenLineage['asked']>
}

function observe({ service, url, gateCheck, callerContext, shape, decision }: DeduplicatedRequestFacts, reported: Reported): Observation {
  const { end, durationMs, verdict } = reported
  const { profile, reason, generation } = reported.asked
  const { caller } = gateCheck
  const { via, uncertainty } = gateCheck.viaOf(shape.grant)
  const labels = { provider: service.id, profile: profile ?? 'unknown', reason, decision, caller: caller.label }
  return {
    name: SPAN_ACQUIRE,
    kind: 'internal',
    startMs: callerContext.startMs,
    durationMs,
    parent: callerContext.parent,
    attributes: compact({
      ...callerAttributes(caller),
      [ATTR_PROVIDER]: service.id,
      [ATTR_PROFILE]: profile,
      [ATTR_REASON]: reason,
      [ATTR_REASON_DECLARED]: shape.declaredReason,
      [ATTR_DECISION]: decision,
      [ATTR_VIA]: via,
      [ATTR_UNCERTAINTY]: uncertainty,
      [ATTR_POLICY]: via === 'bypass' ? 'coalesce' : undefined,
      [ATTR_CREDENTIAL_GENERATION]: generation,
      [ATTR_REQUEST_ENCODING]: shape.encoding,
      [ATTR_REQUEST_FIELDS]: shape.fields,
      [ATTR_SERVER_ADDRESS]: url.hostname,
      [ATTR_URL_PATH]: url.pathname,
      [ATTR_HTTP_ROUTE]: callerContext.route,
      [ATTR_REFRESH_FINGERPRINT_AFTER]: 'answer' in end ? grantedRefresh(end.answer) : undefined,
      ...verdictAttributes(verdict, end),
    }),
    events: via === 'bypass' ? [{ name: EVENT_BYPASS, atMs: callerContext.startMs }] : [],
    isError: !isSuccess(verdict.outcome),
    isUrgent: true,
    isRecorded: true,
    measures: () => {
      const measures: Measure[] = [
        { kind: 'add', key: 'acquisitions', labels },
        { kind: 'record', key: 'acquisitionWait', value: durationMs / 1000, labels },
      ]
      if (via === 'bypass')
        measures.push({ kind: 'add', key: 'bypasses', labels: { provider: service.id, caller: caller.label, policy: 'coalesce' } })
      return measures
    },
  }
}

function judge(end: SharedEnd, { judgeRefresh }: KnownService): TokenVerdict {
  if ('error' in end) return judgeTokenAnswer({ error: end.error })
  const { status, body } = end.answer
  const verdict = judgeTokenAnswer({ status, headers: headersOf(end.answer), body }, { judgeRefresh })
  return isSuccess(verdict.outcome) ? { outcome: 'reused' } : verdict
}

function verdictAttributes({ outcome, errorType: failure, providerCode }: TokenVerdict, end: SharedEnd): Attributes {
  return {
    [ATTR_OUTCOME]: outcome,
    [ATTR_PERMANENT]: isSuccess(outcome) ? undefined : isPermanent(outcome),
    [ATTR_ERROR_TYPE]: failure,
    [ATTR_HTTP_STATUS]: 'answer' in end ? end.answer.status : undefined,
    [ATTR_PROVIDER_ERROR_CODE]: providerCode,
  }
}
