import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { eventCaller, framesToApplication } from '../callers/caller.ts'
import type { AttemptEvent } from '../domain/events.ts'
import type { OutgoingEnd } from '../http-clients/node-response.ts'
import type { OutgoingRequest } from '../http-clients/outgoing-request.ts'
import { judgeSeenCall, type SeenEnd } from '../providers/call-judgement.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import type { ApiMatch } from '../token-requests/endpoint-registry.ts'
import { PROCESS_ENDED, requestIdOf } from '../token-requests/judge.ts'
import { type RequestCredential, requestCredentialIn } from '../token-requests/request-credential.ts'
import type { TokenLineage } from '../token-requests/token-lineage.ts'
import { scanBeginning, scannedString, scannedTrue } from '../tools/json-object.ts'
import type { CallSampler } from './call-sampler.ts'
import { type CallerContext, callerOf } from './caller-context.ts'
import { type Observation, placeUnder } from './observation.ts'

interface ProviderCallFacts {
  readonly request: OutgoingRequest
  readonly url: URL
  readonly api: ApiMatch
  readonly callerContext: CallerContext
  readonly lineages: TokenLineage
  /** Chooses which of the calls that went well the event store keeps. */
  readonly sample: CallSampler
  /** Calls that are passed over are notified of too. */
  readonly wantsAll: boolean
}

/** A longer body is looked at at once: it shall not be held until the answer is there. */
const LONGEST_HELD = 64 * 1024
/** No caller calls a call ordinary that took as long as this. */
const SLOW_MS = 30_000

/** One request to a provider's API, from where it is made to its end; then it is an observation. */
export class ProviderCall {
  readonly #facts: ProviderCallFacts
  #held: Uint8Array | undefined
  #model: string | undefined
  #streams: boolean | undefined
  #bearer: RequestCredential

  constructor(facts: ProviderCallFacts) {
    this.#facts = facts
    const { body } = facts.request
    if (body) this.#bodyBegins(body)
    else facts.request.onBodyStart(piece => this.#bodyBegins(piece))
    this.#bearer = this.#enter()
  }

  /** What is reported about the call, now that it has ended; nothing of an ordinary one that no caller wants to hear of. */
  ended(end: OutgoingEnd): Observation | undefined {
    const { api, callerContext, lineages, sample } = this.#facts
    // Some clients set their headers only when they write the body.
    if (this.#bearer.type === 'none') this.#bearer = this.#enter()
    if (this.#bearer.type === 'none') lineages.calledWithout(api.service.id, callerContext.startMs)
    else if (this.#bearer.type === 'token' && end.status === 401) lineages.rejected(this.#bearer.token.fingerprint, Date.now())
    const verdict: SeenEnd = end.error === PROCESS_ENDED ? { outcome: 'aborted' } : judgeSeenCall(end, api.service.judgeAttempt)
    const endedAtMs = performance.now()
    const durationMs = endedAtMs - callerContext.startedAtMs
    const isOrdinary = verdict.outcome === 'ok' && durationMs < SLOW_MS
    const weight = isOrdinary ? sample.take(api.service.id, endedAtMs) : 1
    // A caller that left by itself says nothing about the provider.
    if (!isOrdinary && verdict.outcome !== 'aborted') sample.disturbed(api.service.id, endedAtMs)
    return weight > 0 || this.#facts.wantsAll ? this.#observation(end, verdict, { durationMs, weight }) : undefined
  }

  /** @param weight Calls that the event stands for; 0 where it is for exporters alone. */
  #observation(end: OutgoingEnd, verdict: SeenEnd, { durationMs, weight }: { durationMs: number; weight: number }): Observation {
    const { url, api, callerContext, request, sample } = this.#facts
    const { startMs, startedAtMs, parent, route, frames } = callerContext
    sample.recorded(api.service.id, framesToApplication(frames), performance.now())
    if (this.#held) this.#peek(this.#held)
    return {
      parent,
      event: {
        ...placeUnder(parent),
        kind: 'attempt',
        startMs,
        durationMs,
        caller: eventCaller(callerOf(callerContext)),
        ...this.#credentialFields(),
        provider: api.service.id,
        protocol: api.protocol,
        genaiOperation: api.protocol && GENAI_OPERATIONS[api.protocol],
        genaiProvider: api.service.genaiName,
        model: this.#model,
        stream: this.#streams,
        outcome: verdict.outcome,
        errorType: verdict.failure,
        providerErrorCode: verdict.providerCode,
        providerRequestId: requestIdOf(end.headers),
        httpMethod: request.method,
        httpStatus: end.status,
        answerType: end.status !== undefined && end.status >= 300 ? end.headers?.['content-type'] : undefined,
        httpRoute: route,
        serverAddress: url.hostname,
        urlPath: url.pathname,
        timeToFirstChunkS: end.firstChunkAtMs === undefined ? undefined : (end.firstChunkAtMs - startedAtMs) / 1000,
        standsFor: weight,
        isError: verdict.failure !== undefined,
        steps: [],
      },
    }
  }

  #bodyBegins(piece: Uint8Array): void {
    if (piece.byteLength > LONGEST_HELD) this.#peek(piece)
    else this.#held = piece
  }

  /** Reads the model and a flag where they stand in the first bytes; the rest is only passed over. */
  #peek(piece: Uint8Array): void {
    const body = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    const peeked = scanBeginning(body, ['model', 'stream'])
    const model = scannedString(body, peeked?.members.get('model'))
    this.#model = model === undefined ? undefined : sanitizeName(model)
    this.#streams = peeked && scannedTrue(body, peeked.members.get('stream'))
  }

  /** Enters what the request carries into the ledger. */
  #enter(): RequestCredential {
    const { request, api, callerContext, lineages } = this.#facts
    const bearer = requestCredentialIn(request, api.service)
    if (bearer.type === 'token') lineages.used(api.service.id, bearer.token, callerContext.startMs)
    return bearer
  }

  #credentialFields(): Pick<AttemptEvent, 'hasAccess' | 'profile' | 'credentialType' | 'credentialFingerprint' | 'credentialExpiresInS'> {
    if (this.#bearer.type === 'none') return { hasAccess: false }
    if (this.#bearer.type === 'api_key') return { credentialType: 'api_key', credentialFingerprint: this.#bearer.fingerprint }
    const { fingerprint, expiresAt } = this.#bearer.token
    return {
      profile: this.#facts.lineages.profileOf(fingerprint),
      credentialType: 'token',
      credentialFingerprint: fingerprint,
      credentialExpiresInS: expiresAt === undefined ? undefined : Math.round((expiresAt - this.#facts.callerContext.startMs) / 1000),
    }
  }
}
