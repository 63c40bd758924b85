import type { Attributes } from '@opentelemetry/api'
import type { Decision } from '../../otel/enums.ts'
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
  ATTR_SERVER_ADDRESS,
  ATTR_SHAPE_ENCODING,
  ATTR_SHAPE_FIELDS,
  ATTR_UNCERTAINTY,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  SPAN_VISIT,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isPermanent, isSuccess } from '../domain/refresh-outcome.ts'
import { type BufferedResponse, headersOf } from '../http-clients/buffered-response.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import type { Shape } from '../token-requests/request-summary.ts'
import type { TokenLedger } from '../token-requests/token-lineage.ts'
import { type Verdict, verdictOf } from '../token-requests/token-outcome.ts'
import { grantedRefresh } from '../token-requests/token-response.ts'
import type { Sighting } from './caller-context.ts'
import type { Passage } from './gate-check.ts'
import { compact, type Measure, type Observation } from './observation.ts'

/** A refresh that was answered without a request of its own. */
export interface CoalescedVisitFacts {
  readonly service: KnownService
  readonly url: URL
  readonly passage: Passage
  readonly sighting: Sighting
  readonly ledger: TokenLedger
  readonly shape: Shape
  readonly refresh: Fingerprint
  readonly decision: Extract<Decision, 'join' | 'reuse' | 'adopt'>
}

/** How it ended: with an answer, or with an error in place of one. */
export type SharedEnd = { readonly answer: BufferedResponse } | { readonly error: unknown }

/**
 * What is told of a caller who got somebody else's answer: a visit, not a refresh, since nothing was sent. The token it
 * came with is not named on it for the same reason; the one it left with is.
 */
export function coalescedVisit(facts: CoalescedVisitFacts, end: SharedEnd): Observation {
  const { service, sighting, ledger, refresh } = facts
  const told = {
    end,
    durationMs: performance.now() - sighting.startedAtMs,
    verdict: judge(end, service),
    asked: ledger.asked(service.id, refresh, sighting.startMs),
  }
  return facts.passage.told(() => observe(facts, told))
}

/** What is known of it when it has ended, whatever its stack turns out to be. */
interface Told {
  readonly end: SharedEnd
  readonly durationMs: number
  readonly verdict: Verdict
  readonly asked: ReturnType<TokenLedger['asked']>
}

function observe({ service, url, passage, sighting, shape, decision }: CoalescedVisitFacts, told: Told): Observation {
  const { end, durationMs, verdict } = told
  const { profile, reason, generation } = told.asked
  const { caller } = passage
  const { via, uncertainty } = passage.viaOf(shape.grant)
  const labels = { provider: service.id, profile: profile ?? 'unknown', reason, decision, caller: caller.label }
  return {
    name: SPAN_VISIT,
    kind: 'internal',
    startMs: sighting.startMs,
    durationMs,
    parent: sighting.parent,
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
      [ATTR_SHAPE_ENCODING]: shape.encoding,
      [ATTR_SHAPE_FIELDS]: shape.fields,
      [ATTR_SERVER_ADDRESS]: url.hostname,
      [ATTR_URL_PATH]: url.pathname,
      [ATTR_HTTP_ROUTE]: sighting.route,
      [ATTR_REFRESH_FINGERPRINT_AFTER]: 'answer' in end ? grantedRefresh(end.answer) : undefined,
      ...verdictAttributes(verdict, end),
    }),
    events: via === 'bypass' ? [{ name: EVENT_BYPASS, atMs: sighting.startMs }] : [],
    isError: !isSuccess(verdict.outcome),
    isUrgent: true,
    isRecorded: true,
    measures: () => {
      const measures: Measure[] = [
        { kind: 'add', key: 'visits', labels },
        { kind: 'record', key: 'visitWait', value: durationMs / 1000, labels },
      ]
      if (via === 'bypass')
        measures.push({ kind: 'add', key: 'bypasses', labels: { provider: service.id, caller: caller.label, policy: 'coalesce' } })
      return measures
    },
  }
}

function judge(end: SharedEnd, { judgeRefresh }: KnownService): Verdict {
  if ('error' in end) return verdictOf({ error: end.error }, judgeRefresh, false)
  const { status, body } = end.answer
  const verdict = verdictOf({ status, headers: headersOf(end.answer), body }, judgeRefresh, false)
  return isSuccess(verdict.outcome) ? { outcome: 'reused' } : verdict
}

function verdictAttributes({ outcome, failure, providerCode }: Verdict, end: SharedEnd): Attributes {
  return {
    [ATTR_OUTCOME]: outcome,
    [ATTR_PERMANENT]: isSuccess(outcome) ? undefined : isPermanent(outcome),
    [ATTR_ERROR_TYPE]: failure,
    [ATTR_HTTP_STATUS]: 'answer' in end ? end.answer.status : undefined,
    [ATTR_PROVIDER_ERROR_CODE]: providerCode,
  }
}
