import { eventCaller } from '../callers/caller.ts'
import type { Decision } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { type BufferedResponse, headersOf } from '../http-clients/buffered-response.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import { judgeTokenAnswer, type TokenVerdict } from '../token-requests/judge.ts'
import type { RequestSummary } from '../token-requests/request-summary.ts'
import type { TokenLineage } from '../token-requests/token-lineage.ts'
import { grantedRefresh } from '../token-requests/token-response.ts'
import type { CallerContext } from './caller-context.ts'
import type { GateCheck } from './gate-check.ts'
import { type Observation, placeUnder } from './observation.ts'

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
  const { via, uncertainty } = gateCheck.viaOf(shape.grant)
  const { outcome, errorType, providerCode } = verdict
  const { startMs, parent, route } = callerContext
  return {
    parent,
    event: {
      ...placeUnder(parent),
      kind: 'acquire',
      startMs,
      durationMs,
      caller: eventCaller(gateCheck.caller),
      provider: service.id,
      profile,
      reason,
      reasonDeclared: shape.declaredReason,
      decision,
      via,
      uncertainty,
      policy: via === 'bypass' ? 'coalesce' : undefined,
      generation,
      requestEncoding: shape.encoding || undefined,
      requestFields: shape.fields || undefined,
      serverAddress: url.hostname,
      urlPath: url.pathname,
      httpRoute: route,
      refreshFingerprintAfter: 'answer' in end ? grantedRefresh(end.answer) : undefined,
      outcome,
      errorType,
      httpStatus: 'answer' in end ? end.answer.status : undefined,
      providerErrorCode: providerCode,
      isError: !isSuccess(outcome),
      steps: via === 'bypass' ? [{ name: 'bypass', atMs: startMs }] : [],
    },
  }
}

function judge(end: SharedEnd, { judgeRefresh }: KnownService): TokenVerdict {
  if ('error' in end) return judgeTokenAnswer({ error: end.error })
  const { status, body } = end.answer
  const verdict = judgeTokenAnswer({ status, headers: headersOf(end.answer), body }, { judgeRefresh })
  return isSuccess(verdict.outcome) ? { outcome: 'reused' } : verdict
}
