import type { Attributes } from '@opentelemetry/api'
import {
  ATTR_ACCOUNT_AFTER,
  ATTR_ACCOUNT_BEFORE,
  ATTR_ANSWER_TYPE,
  ATTR_CLOCK_SKEW,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_GENERATION,
  ATTR_ERROR_TYPE,
  ATTR_EXPIRES_IN_REPAIRED,
  ATTR_GATE_SEEN,
  ATTR_HAS_REFRESH,
  ATTR_HTTP_METHOD,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_PROVIDER_REQUEST_ID,
  ATTR_REASON,
  ATTR_REASON_DECLARED,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REFRESH_RETAINED,
  ATTR_REJECTED_FINGERPRINT,
  ATTR_REPLAY,
  ATTR_REQUEST_CLIENT,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_REQUEST_HEADERS,
  ATTR_REQUEST_SCOPES,
  ATTR_REQUEST_USER_AGENT,
  ATTR_RETRY_AFTER,
  ATTR_SERVER_ADDRESS,
  ATTR_TOKEN_AGE,
  ATTR_UNCERTAINTY,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_JOINED,
  EVENT_REPLAY,
  SPAN_EXCHANGE,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { BypassPolicy, Via } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'
import { bypassError } from '../http-clients/block.ts'
import type { OutgoingEnd } from '../http-clients/response-tracker.ts'
import type { SentHeaders } from '../http-clients/sent-headers.ts'
import { profileName } from '../telemetry/profile-name.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import { BLOCKED, type HeadFacts, headFacts, isGranted, judgeTokenAnswer, type TokenVerdict } from '../token-requests/judge.ts'
import { accessTokenOf } from '../token-requests/request-credential.ts'
import { type RequestSummary, summarizeRequest } from '../token-requests/request-summary.ts'
import { shownHeader } from '../token-requests/token-fields.ts'
import { readGrant, type TokenGrant } from '../token-requests/token-grant.ts'
import type { RequestLineage, TokenLineage } from '../token-requests/token-lineage.ts'
import type { CallerContext } from './caller-context.ts'
import type { CredentialFiles } from './credential-files.ts'
import type { StoredCredential } from './credential-search.ts'
import type { GateCheck } from './gate-check.ts'
import { compact, type Measure, type Observation, type ObservedEvent } from './observation.ts'

/** What is known of a token request when it is made. */
export interface TokenRequestFacts {
  readonly service: KnownService
  readonly url: URL
  readonly gateCheck: GateCheck
  readonly policy: BypassPolicy
  readonly callerContext: CallerContext
  readonly lineages: TokenLineage
  readonly credentials: CredentialFiles
}

/** What is known of it when it has ended, whatever its stack turns out to be. */
interface Reported {
  readonly end: OutgoingEnd
  readonly endedMs: number
  readonly grant: TokenGrant | undefined
  readonly isRefresh: boolean
  readonly lineage: RequestLineage
  readonly verdict: TokenVerdict
  readonly durationMs: number
}

const MOST_HEADERS = 60

/** One token request, from where it is made to its end; then it is an observation. */
export class TokenRequest {
  readonly #facts: TokenRequestFacts
  #shape: RequestSummary = summarizeRequest(undefined)
  #headerNames = ''
  #userAgent: Fingerprint | undefined
  /** Under way, or over, where the application's files are asked. */
  #lookup: Promise<void> | undefined
  #isEnded = false
  /** The files have answered when the request had ended. */
  #isFoundLate = false
  #isRefused = false
  readonly #wasGateSeen: boolean

  constructor(facts: TokenRequestFacts) {
    this.#facts = facts
    this.#wasGateSeen = facts.gateCheck.isGateSeen
  }

  /**
   * Why it must not be sent; to be asked once its body is known. Only a refresh that goes past the gate is refused.
   *
   * @returns The error that the application gets; `undefined` for a request that goes on.
   */
  refusal(): GatewayError | undefined {
    const { policy, gateCheck, url } = this.#facts
    const isPast = policy === 'enforce' && this.#shape.grant === 'refresh' && gateCheck.isBypass()
    return isPast ? bypassError(url, gateCheck.caller.label, gateCheck.isGateSeen) : undefined
  }

  /** It was kept from being sent. */
  refused(): void {
    this.#isRefused = true
  }

  /** The request's body is complete; its headers are what they will be. */
  body(shape: RequestSummary, headers: SentHeaders): void {
    this.#shape = shape
    if (shape.refreshFingerprint !== undefined && !shape.isTokenless) this.#lookUp(shape.refreshFingerprint)
    this.#userAgent = fingerprint(headers['user-agent'])
    this.#headerNames = Object.keys(headers).slice(0, MOST_HEADERS).map(shownHeader).sort().join(' ')
  }

  /** What is reported about the request, now that it has ended: answered, failed, or left behind by an ending process. */
  ended(end: OutgoingEnd): Observation {
    const { service, callerContext, lineages } = this.#facts
    this.#isEnded = true
    const endedMs = Date.now()
    const { grant: asked, refreshFingerprint: sent } = this.#shape
    const verdict = this.#isRefused ? BLOCKED : judgeTokenAnswer(end, { grant: asked, sent, judgeRefresh: service.judgeRefresh })
    const isGood = isGranted(verdict)
    const grant = isGood && verdict.fields ? readGrant(verdict.fields, service, endedMs) : undefined
    const isRefresh = asked !== 'other'
    const seen = lineages.exchanged({
      provider: service.id,
      sentMs: callerContext.startMs,
      endedMs,
      sent,
      isTokenless: this.#shape.isTokenless,
      ...(isGood && { granted: grant ?? {} }),
    })
    // What another process rotated away is known to the provider alone.
    const lineage = { ...seen, isReplay: seen.isReplay || verdict.replayed === true }
    const durationMs = performance.now() - callerContext.startedAtMs
    const reported = { end, endedMs, grant, isRefresh, lineage, verdict, durationMs }
    const observation = this.#facts.gateCheck.observed(() => this.#observation(this.#recalled(reported)))
    return this.#lookup
      ? { ...observation, rebuilt: () => this.#observation(this.#recalled(reported)), pending: this.#lookup }
      : observation
  }

  /** What the files of the application have told since it ended. */
  #recalled(reported: Reported): Reported {
    const { service, lineages, callerContext } = this.#facts
    const { refreshFingerprint: sent } = this.#shape
    if (!this.#isFoundLate || sent === undefined) return reported
    return { ...reported, lineage: { ...reported.lineage, ...lineages.recalled(service.id, sent, callerContext.startMs) } }
  }

  #observation(reported: Reported): Observation {
    const { service, callerContext, url, gateCheck } = this.#facts
    const { end, endedMs, grant, isRefresh, lineage, verdict, durationMs } = reported
    const { caller } = gateCheck
    const { via, uncertainty } = gateCheck.viaOf(this.#shape.grant)
    return {
      name: isRefresh ? SPAN_REFRESH : SPAN_EXCHANGE,
      kind: 'client',
      startMs: callerContext.startMs,
      durationMs,
      parent: callerContext.parent,
      attributes: compact({
        ...callerAttributes(caller),
        ...this.#shapeAttributes(),
        ...lineageAttributes(lineage, callerContext.startMs),
        [ATTR_PROVIDER]: service.id,
        [ATTR_VIA]: via,
        [ATTR_UNCERTAINTY]: uncertainty,
        [ATTR_POLICY]: via === 'bypass' ? this.#facts.policy : undefined,
        [ATTR_GATE_SEEN]: via === 'bypass' ? this.#wasGateSeen : undefined,
        [ATTR_SERVER_ADDRESS]: url.hostname,
        [ATTR_URL_PATH]: url.pathname,
        [ATTR_HTTP_METHOD]: 'POST',
        [ATTR_HTTP_ROUTE]: callerContext.route,
        [ATTR_REFRESH_FINGERPRINT_AFTER]: grant?.refresh,
        [ATTR_CREDENTIAL_FINGERPRINT]: grant?.access?.fingerprint,
        [ATTR_REFRESH_RETAINED]: grant ? lineage.isRetained : undefined,
        [ATTR_EXPIRES_IN_REPAIRED]: grant?.repaired,
        ...accountAttributes(lineage.before?.account, grant?.access?.account),
        ...verdictAttributes(verdict, end, isRefresh, endedMs),
      }),
      events: this.#events(lineage, via),
      isError: !isSuccess(verdict.outcome),
      isUrgent: true,
      isRecorded: true,
      measures: () => this.#measures(reported, via, caller.label),
    }
  }

  /** Asks the application's files for a token that was not seen yet; from now on, for the answer will change them. */
  #lookUp(refresh: Fingerprint): void {
    const { lineages, service, credentials, callerContext } = this.#facts
    if (!lineages.lacksAccess(service.id, refresh)) return
    const question = { refresh, provider: service.id, sentMs: callerContext.startMs }
    this.#lookup = credentials.find(question, stored => {
      this.#enter(refresh, stored)
      this.#isFoundLate = this.#isEnded
    })
  }

  #enter(refresh: Fingerprint, { access, expiresAt, profileId }: StoredCredential): void {
    const { lineages, service, callerContext } = this.#facts
    // An access token that nobody has seen goes by the name of the refresh token it came with.
    const known = access === undefined ? { fingerprint: `with ${refresh}` } : accessTokenOf(access, service)
    const token = access === undefined && expiresAt === undefined ? undefined : { ...known, ...(expiresAt !== undefined && { expiresAt }) }
    lineages.stored(service.id, refresh, { token, profile: profileId && profileName(profileId) }, callerContext.startMs)
  }

  #shapeAttributes(): Attributes {
    const { encoding, fields, refreshFingerprint, isTokenless, clientFingerprint, scopes, declaredReason, grantType } = this.#shape
    return {
      [ATTR_REQUEST_ENCODING]: encoding,
      [ATTR_REQUEST_FIELDS]: fields,
      [ATTR_REQUEST_CLIENT]: clientFingerprint,
      [ATTR_REQUEST_SCOPES]: scopes,
      [ATTR_REQUEST_HEADERS]: this.#headerNames,
      [ATTR_REQUEST_USER_AGENT]: this.#userAgent,
      [ATTR_REASON_DECLARED]: declaredReason,
      [ATTR_REFRESH_FINGERPRINT_BEFORE]: refreshFingerprint,
      [ATTR_HAS_REFRESH]: grantType === 'refresh_token' ? !isTokenless : undefined,
    }
  }

  #events({ isReplay }: RequestLineage, via: Via): ObservedEvent[] {
    const { startMs: atMs } = this.#facts.callerContext
    const joined = this.#facts.callerContext
      .joiners()
      .map(joiner => ({ name: EVENT_JOINED, atMs: Date.now(), attributes: callerAttributes(joiner) }))
    return [...(via === 'bypass' ? [{ name: EVENT_BYPASS, atMs }] : []), ...(isReplay ? [{ name: EVENT_REPLAY, atMs }] : []), ...joined]
  }

  #measures({ lineage, verdict, durationMs, isRefresh }: Reported, via: Via, caller: string): Measure[] {
    const { service, policy } = this.#facts
    const { outcome, errorType: failure } = verdict
    const provider = service.id
    const profile = lineage.profile ?? 'unknown'
    const measures: Measure[] = []
    if (via === 'bypass') measures.push({ kind: 'add', key: 'bypasses', labels: { provider, caller, policy } })
    if (lineage.isReplay) measures.push({ kind: 'add', key: 'replays', labels: { provider, profile, caller } })
    if (!isRefresh) return measures
    const labels = {
      provider,
      profile,
      reason: lineage.reason,
      outcome,
      via,
      caller,
      ...(failure && { [ATTR_ERROR_TYPE]: failure }),
    }
    measures.push({ kind: 'record', key: 'refreshDuration', value: durationMs / 1000, labels })
    const ageS = ageOf(lineage, this.#facts.callerContext.startMs)
    if (ageS !== undefined)
      measures.push({ kind: 'record', key: 'tokenAge', value: ageS, labels: { provider, profile, reason: lineage.reason } })
    return measures
  }
}

function lineageAttributes(lineage: RequestLineage, sentMs: number): Attributes {
  const { profile, reason, generation, isReplay, before, wasRejected } = lineage
  return {
    [ATTR_PROFILE]: profile,
    [ATTR_REASON]: reason,
    [ATTR_CREDENTIAL_GENERATION]: generation,
    [ATTR_REPLAY]: isReplay || undefined,
    [ATTR_REJECTED_FINGERPRINT]: wasRejected ? before?.fingerprint : undefined,
    [ATTR_CREDENTIAL_EXPIRES_IN]: before?.expiresAt === undefined ? undefined : Math.round((before.expiresAt - sentMs) / 1000),
    [ATTR_TOKEN_AGE]: ageOf(lineage, sentMs),
  }
}

/** Told only where the tokens of the answer are another caller's. */
function accountAttributes(before: string | undefined, after: string | undefined): Attributes {
  if (before === undefined || after === undefined || before === after) return {}
  return { [ATTR_ACCOUNT_BEFORE]: before, [ATTR_ACCOUNT_AFTER]: after }
}

/** Seconds between the issue of the access token in use and this request. */
function ageOf({ before }: RequestLineage, sentMs: number): number | undefined {
  return before?.issuedAt === undefined ? undefined : Math.max(0, Math.round((sentMs - before.issuedAt) / 1000))
}

function verdictAttributes(
  { outcome, errorType: failure, providerCode, retryAfterMs }: TokenVerdict,
  end: OutgoingEnd,
  isRefresh: boolean,
  endedMs: number,
): Attributes {
  const { requestId, skewMs, contentType }: Partial<HeadFacts> = end.status === undefined ? {} : headFacts(end.status, end.headers, endedMs)
  return {
    [ATTR_OUTCOME]: isRefresh ? outcome : undefined,
    [ATTR_PERMANENT]: isRefresh && !isSuccess(outcome) ? isPermanent(outcome) : undefined,
    [ATTR_ERROR_TYPE]: isSuccess(outcome) ? undefined : (failure ?? outcome),
    [ATTR_HTTP_STATUS]: end.status,
    [ATTR_PROVIDER_ERROR_CODE]: providerCode,
    [ATTR_PROVIDER_REQUEST_ID]: requestId,
    [ATTR_ANSWER_TYPE]: contentType,
    [ATTR_RETRY_AFTER]: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000),
    [ATTR_CLOCK_SKEW]: skewMs === undefined ? undefined : Math.round(skewMs / 1000),
  }
}
