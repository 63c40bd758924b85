import { eventCaller } from '../callers/caller.ts'
import type { BypassPolicy } from '../domain/enums.ts'
import type { EventStep } from '../domain/events.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import type { GatewayError } from '../domain/gateway-error.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { bypassError } from '../http-clients/client-adapter.ts'
import type { OutgoingEnd } from '../http-clients/node-response.ts'
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
import { type Observation, placeUnder } from './observation.ts'

/** What is known of a token request when it is made. */
interface TokenRequestFacts {
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
    const reported = { end, endedMs, grant, lineage, verdict, durationMs }
    const observation = this.#facts.gateCheck.observed(() => this.#observation(this.#recalled(reported)))
    return this.#lookup
      ? { ...observation, rebuilt: () => this.#observation(this.#recalled(reported)), pending: this.#lookup }
      : observation
  }

  /** What the files of the application have shown since it ended. */
  #recalled(reported: Reported): Reported {
    const { service, lineages, callerContext } = this.#facts
    const { refreshFingerprint: sent } = this.#shape
    if (!this.#isFoundLate || sent === undefined) return reported
    return { ...reported, lineage: { ...reported.lineage, ...lineages.recalled(service.id, sent, callerContext.startMs) } }
  }

  #observation({ end, endedMs, grant, lineage, verdict, durationMs }: Reported): Observation {
    const { service, callerContext, url, gateCheck, policy } = this.#facts
    const { startMs, parent, route } = callerContext
    const { via, uncertainty } = gateCheck.viaOf(this.#shape.grant)
    const isBypass = via === 'bypass'
    const { outcome, retryAfterMs } = verdict
    const { requestId, skewMs, contentType }: Partial<HeadFacts> =
      end.status === undefined ? {} : headFacts(end.status, end.headers, endedMs)
    return {
      parent,
      event: {
        ...placeUnder(parent),
        kind: 'token_request',
        startMs,
        durationMs,
        caller: eventCaller(gateCheck.caller),
        ...this.#shapeFields(),
        ...lineageFields(lineage, startMs),
        provider: service.id,
        via,
        uncertainty,
        policy: isBypass ? policy : undefined,
        gateSeen: isBypass ? this.#wasGateSeen : undefined,
        serverAddress: url.hostname,
        urlPath: url.pathname,
        httpMethod: 'POST',
        httpRoute: route,
        refreshFingerprintAfter: grant?.refresh,
        credentialFingerprint: grant?.access?.fingerprint,
        refreshTokenRetained: grant ? lineage.isRetained : undefined,
        expiresInRepaired: grant?.repaired,
        ...accountFields(lineage.before?.account, grant?.access?.account),
        outcome,
        errorType: isSuccess(outcome) ? undefined : (verdict.errorType ?? outcome),
        httpStatus: end.status,
        providerErrorCode: verdict.providerCode,
        providerRequestId: requestId,
        answerType: contentType,
        retryAfterS: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000),
        clockSkewS: skewMs === undefined ? undefined : Math.round(skewMs / 1000),
        isError: !isSuccess(outcome),
        steps: this.#steps(lineage, isBypass),
      },
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
    // An unknown access token goes by the name of the refresh token it came with.
    const known = access === undefined ? { fingerprint: `with ${refresh}` } : accessTokenOf(access, service)
    const token = access === undefined && expiresAt === undefined ? undefined : { ...known, ...(expiresAt !== undefined && { expiresAt }) }
    lineages.stored(service.id, refresh, { token, profile: profileId && profileName(profileId) }, callerContext.startMs)
  }

  #shapeFields() {
    const { grant, encoding, fields, refreshFingerprint, isTokenless, clientFingerprint, scopes, declaredReason, grantType } = this.#shape
    return {
      grant,
      requestEncoding: encoding || undefined,
      requestFields: fields || undefined,
      requestClientFingerprint: clientFingerprint,
      requestScopes: scopes || undefined,
      requestHeaders: this.#headerNames || undefined,
      requestUserAgentFingerprint: this.#userAgent,
      reasonDeclared: declaredReason,
      refreshFingerprintBefore: refreshFingerprint,
      hasRefresh: grantType === 'refresh_token' ? !isTokenless : undefined,
    }
  }

  #steps({ isReplay }: RequestLineage, isBypass: boolean): EventStep[] {
    const { startMs: atMs } = this.#facts.callerContext
    const joined = this.#facts.callerContext
      .joiners()
      .map(joiner => ({ name: 'joined', atMs: Date.now(), caller: eventCaller(joiner) }) satisfies EventStep)
    return [...(isBypass ? [{ name: 'bypass', atMs } as const] : []), ...(isReplay ? [{ name: 'replay', atMs } as const] : []), ...joined]
  }
}

function lineageFields(lineage: RequestLineage, sentMs: number) {
  const { profile, reason, generation, isReplay, before, wasRejected } = lineage
  return {
    profile,
    reason,
    generation,
    replay: isReplay || undefined,
    rejectedFingerprint: wasRejected ? before?.fingerprint : undefined,
    credentialExpiresInS: before?.expiresAt === undefined ? undefined : Math.round((before.expiresAt - sentMs) / 1000),
    tokenAgeS: before?.issuedAt === undefined ? undefined : Math.max(0, Math.round((sentMs - before.issuedAt) / 1000)),
  }
}

/** Set only where the tokens of the answer belong to another account. */
function accountFields(accountBefore: string | undefined, accountAfter: string | undefined) {
  if (accountBefore === undefined || accountAfter === undefined || accountBefore === accountAfter) return {}
  return { accountBefore, accountAfter }
}
