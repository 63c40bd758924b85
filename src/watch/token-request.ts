import type { Attributes } from '@opentelemetry/api'
import type { BypassPolicy, Via } from '../../otel/enums.ts'
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
  ATTR_RETRY_AFTER,
  ATTR_SERVER_ADDRESS,
  ATTR_SHAPE_CLIENT,
  ATTR_SHAPE_ENCODING,
  ATTR_SHAPE_FIELDS,
  ATTR_SHAPE_HEADERS,
  ATTR_SHAPE_SCOPES,
  ATTR_SHAPE_USER_AGENT,
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
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { isPermanent, isSuccess } from '../domain/refresh-outcome.ts'
import { bypassError } from '../http-clients/block.ts'
import type { OutgoingEnd } from '../http-clients/response-tracker.ts'
import type { SentHeaders } from '../http-clients/sent-headers.ts'
import { profileName } from '../telemetry/profile-name.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import { accessTokenOf } from '../token-requests/request-credential.ts'
import { type Shape, shapeOf } from '../token-requests/request-summary.ts'
import { shownHeader } from '../token-requests/token-fields.ts'
import { readGrant } from '../token-requests/token-grant.ts'
import type { Lineage, TokenLedger } from '../token-requests/token-lineage.ts'
import { BLOCKED, isUnreadable, refusalIn, requestIdIn, skewOf, type Verdict, verdictOf } from '../token-requests/token-outcome.ts'
import type { Sighting } from './caller-context.ts'
import type { CredentialFiles } from './credential-files.ts'
import type { StoredCredential } from './credential-search.ts'
import type { Passage } from './gate-check.ts'
import { compact, type Measure, type Observation, type ObservedEvent } from './observation.ts'

/** What is known of a token request when it is made. */
export interface TokenRequestFacts {
  readonly service: KnownService
  readonly url: URL
  readonly passage: Passage
  readonly policy: BypassPolicy
  readonly sighting: Sighting
  readonly ledger: TokenLedger
  readonly credentials: CredentialFiles
}

/** What is known of it when it has ended, whatever its stack turns out to be. */
interface Told {
  readonly end: OutgoingEnd
  readonly endedMs: number
  readonly grant: ReturnType<typeof readGrant>
  readonly isRefresh: boolean
  readonly lineage: Lineage
  readonly verdict: Verdict
  readonly durationMs: number
}

const MOST_HEADERS = 60

/** One token request, from where it is made to its end; then it is an observation. */
export class TokenRequest {
  readonly #facts: TokenRequestFacts
  #shape: Shape = shapeOf(undefined)
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
    this.#wasGateSeen = facts.passage.isGateSeen
  }

  /**
   * Why it must not be sent; to be asked once its body is known. Only a refresh that goes past the gate is refused.
   *
   * @returns The error that the application gets; `undefined` for a request that goes on.
   */
  refusal(): GatewayError | undefined {
    const { policy, passage, url } = this.#facts
    const isPast = policy === 'enforce' && this.#shape.grant === 'refresh' && passage.isBypass()
    return isPast ? bypassError(url, passage.caller.label, passage.isGateSeen) : undefined
  }

  /** It was kept from being sent. */
  refused(): void {
    this.#isRefused = true
  }

  /** The request's body is complete; its headers are what they will be. */
  body(shape: Shape, headers: SentHeaders): void {
    this.#shape = shape
    if (shape.refreshFingerprint !== undefined && !shape.isTokenless) this.#lookUp(shape.refreshFingerprint)
    this.#userAgent = fingerprint(headers['user-agent'])
    this.#headerNames = Object.keys(headers).slice(0, MOST_HEADERS).map(shownHeader).sort().join(' ')
  }

  /** What is told of the request, now that it has ended: answered, failed, or left behind by an ending process. */
  ended(end: OutgoingEnd): Observation {
    const { service, sighting, ledger } = this.#facts
    this.#isEnded = true
    const endedMs = Date.now()
    const isGranted =
      end.status !== undefined &&
      end.status >= 200 &&
      end.status < 300 &&
      refusalIn(end, service.judgeRefresh) === undefined &&
      !isUnreadable(end)
    const grant = isGranted ? readGrant(end, service, endedMs) : undefined
    const isRefresh = this.#shape.grant !== 'other'
    const seen = ledger.exchanged({
      provider: service.id,
      sentMs: sighting.startMs,
      endedMs,
      sent: this.#shape.refreshFingerprint,
      isTokenless: this.#shape.isTokenless,
      ...(isGranted && { granted: grant ?? {} }),
    })
    const verdict = this.#isRefused ? BLOCKED : verdictOf(end, service.judgeRefresh, grant !== undefined && seen.isRetained)
    // What another process rotated away is known to the provider alone.
    const lineage = { ...seen, isReplay: seen.isReplay || verdict.isReplay === true }
    const durationMs = performance.now() - sighting.startedAtMs
    const told = { end, endedMs, grant, isRefresh, lineage, verdict, durationMs }
    const observation = this.#facts.passage.told(() => this.#observation(this.#recalled(told)))
    return this.#lookup ? { ...observation, retold: () => this.#observation(this.#recalled(told)), pending: this.#lookup } : observation
  }

  /** What the files of the application have told since it ended. */
  #recalled(told: Told): Told {
    const { service, ledger, sighting } = this.#facts
    const { refreshFingerprint: sent } = this.#shape
    if (!this.#isFoundLate || sent === undefined) return told
    return { ...told, lineage: { ...told.lineage, ...ledger.recalled(service.id, sent, sighting.startMs) } }
  }

  #observation(told: Told): Observation {
    const { service, sighting, url, passage } = this.#facts
    const { end, endedMs, grant, isRefresh, lineage, verdict, durationMs } = told
    const { caller } = passage
    const { via, uncertainty } = passage.viaOf(this.#shape.grant)
    return {
      name: isRefresh ? SPAN_REFRESH : SPAN_EXCHANGE,
      kind: 'client',
      startMs: sighting.startMs,
      durationMs,
      parent: sighting.parent,
      attributes: compact({
        ...callerAttributes(caller),
        ...this.#shapeAttributes(),
        ...lineageAttributes(lineage, sighting.startMs),
        [ATTR_PROVIDER]: service.id,
        [ATTR_VIA]: via,
        [ATTR_UNCERTAINTY]: uncertainty,
        [ATTR_POLICY]: via === 'bypass' ? this.#facts.policy : undefined,
        [ATTR_GATE_SEEN]: via === 'bypass' ? this.#wasGateSeen : undefined,
        [ATTR_SERVER_ADDRESS]: url.hostname,
        [ATTR_URL_PATH]: url.pathname,
        [ATTR_HTTP_METHOD]: 'POST',
        [ATTR_HTTP_ROUTE]: sighting.route,
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
      measures: () => this.#measures(told, via, caller.label),
    }
  }

  /** Asks the application's files for a token that was not seen yet; from now on, for the answer will change them. */
  #lookUp(refresh: Fingerprint): void {
    const { ledger, service, credentials, sighting } = this.#facts
    if (!ledger.lacksAccess(service.id, refresh)) return
    const question = { refresh, provider: service.id, sentMs: sighting.startMs }
    this.#lookup = credentials.find(question, stored => {
      this.#enter(refresh, stored)
      this.#isFoundLate = this.#isEnded
    })
  }

  #enter(refresh: Fingerprint, { access, expiresAt, profileId }: StoredCredential): void {
    const { ledger, service, sighting } = this.#facts
    // An access token that nobody has seen goes by the name of the refresh token it came with.
    const known = access === undefined ? { fingerprint: `with ${refresh}` } : accessTokenOf(access, service)
    const token = access === undefined && expiresAt === undefined ? undefined : { ...known, ...(expiresAt !== undefined && { expiresAt }) }
    ledger.stored(service.id, refresh, { token, profile: profileId && profileName(profileId) }, sighting.startMs)
  }

  #shapeAttributes(): Attributes {
    const { encoding, fields, refreshFingerprint, isTokenless, clientFingerprint, scopes, declaredReason, grantType } = this.#shape
    return {
      [ATTR_SHAPE_ENCODING]: encoding,
      [ATTR_SHAPE_FIELDS]: fields,
      [ATTR_SHAPE_CLIENT]: clientFingerprint,
      [ATTR_SHAPE_SCOPES]: scopes,
      [ATTR_SHAPE_HEADERS]: this.#headerNames,
      [ATTR_SHAPE_USER_AGENT]: this.#userAgent,
      [ATTR_REASON_DECLARED]: declaredReason,
      [ATTR_REFRESH_FINGERPRINT_BEFORE]: refreshFingerprint,
      [ATTR_HAS_REFRESH]: grantType === 'refresh_token' ? !isTokenless : undefined,
    }
  }

  #events({ isReplay }: Lineage, via: Via): ObservedEvent[] {
    const { startMs: atMs } = this.#facts.sighting
    const joined = this.#facts.sighting
      .joiners()
      .map(joiner => ({ name: EVENT_JOINED, atMs: Date.now(), attributes: callerAttributes(joiner) }))
    return [...(via === 'bypass' ? [{ name: EVENT_BYPASS, atMs }] : []), ...(isReplay ? [{ name: EVENT_REPLAY, atMs }] : []), ...joined]
  }

  #measures({ lineage, verdict, durationMs, isRefresh }: Told, via: Via, caller: string): Measure[] {
    const { service, policy } = this.#facts
    const { outcome, failure } = verdict
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
    const ageS = ageOf(lineage, this.#facts.sighting.startMs)
    if (ageS !== undefined)
      measures.push({ kind: 'record', key: 'tokenAge', value: ageS, labels: { provider, profile, reason: lineage.reason } })
    return measures
  }
}

function lineageAttributes(lineage: Lineage, sentMs: number): Attributes {
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

/** Told only where the tokens of the answer are somebody else's. */
function accountAttributes(before: string | undefined, after: string | undefined): Attributes {
  if (before === undefined || after === undefined || before === after) return {}
  return { [ATTR_ACCOUNT_BEFORE]: before, [ATTR_ACCOUNT_AFTER]: after }
}

/** Seconds between the issue of the access token in use and this request. */
function ageOf({ before }: Lineage, sentMs: number): number | undefined {
  return before?.issuedAt === undefined ? undefined : Math.max(0, Math.round((sentMs - before.issuedAt) / 1000))
}

function verdictAttributes(
  { outcome, failure, providerCode, retryAfterMs }: Verdict,
  end: OutgoingEnd,
  isRefresh: boolean,
  endedMs: number,
): Attributes {
  return {
    [ATTR_OUTCOME]: isRefresh ? outcome : undefined,
    [ATTR_PERMANENT]: isRefresh && !isSuccess(outcome) ? isPermanent(outcome) : undefined,
    [ATTR_ERROR_TYPE]: isSuccess(outcome) ? undefined : (failure ?? outcome),
    [ATTR_HTTP_STATUS]: end.status,
    [ATTR_PROVIDER_ERROR_CODE]: providerCode,
    [ATTR_PROVIDER_REQUEST_ID]: requestIdIn(end.headers),
    [ATTR_ANSWER_TYPE]: end.headers?.['content-type'],
    [ATTR_RETRY_AFTER]: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000),
    [ATTR_CLOCK_SKEW]: skewOf(end.headers, endedMs),
  }
}
