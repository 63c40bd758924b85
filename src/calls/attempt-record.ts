import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { bearerFingerprint, expiryOf } from '../domain/credential.ts'
import type { AttemptOutcome } from '../domain/enums.ts'
import type { AnswerHeaders } from '../providers/upstream.ts'
import { UsageReader } from '../providers/usage-reader.ts'
import { type EventFields, OpenEvent } from '../telemetry/open-event.ts'
import { standingOf, type Telemetry } from '../telemetry/telemetry.ts'
import type { AttemptFacts } from './attempt-facts.ts'
import { endpointOf } from './endpoint.ts'

/** The event of one attempt. */
export class AttemptRecord extends OpenEvent<'attempt'> {
  readonly #facts: AttemptFacts
  readonly #sentAt = performance.now()
  readonly #sentAtEpoch = Date.now()
  #requestId: string | undefined
  #refusalType: string | undefined
  #status: number | undefined
  #firstChunkSeconds: number | undefined
  #usage: UsageReader | undefined
  #weight = 1

  constructor(telemetry: Telemetry, facts: AttemptFacts) {
    const { request, candidate, profile, index, served } = facts
    const known = {
      genaiOperation: GENAI_OPERATIONS[request.protocol],
      genaiProvider: candidate.provider.genaiName,
      provider: candidate.provider.id,
      model: request.model,
      profile: served.profile,
      credentialType: profile.credential.type,
      attemptIndex: index,
    }
    super(telemetry, 'attempt', known, { caller: request.caller })
    this.#facts = facts
  }

  head(status: number, headers: AnswerHeaders): void {
    this.#status = status
    const requestId = headers['x-request-id'] ?? headers['request-id']
    if (typeof requestId === 'string') this.#requestId = requestId
    if (status >= 300) this.#refusalType = String(headers['content-type'] ?? '').split(';', 1)[0] || undefined
    if (status < 300) this.#usage = new UsageReader(String(headers['content-type'] ?? '').includes('text/event-stream'))
  }

  chunk(chunk: Buffer): void {
    this.#usage?.read(chunk)
    if (this.#firstChunkSeconds !== undefined) return
    this.#firstChunkSeconds = (performance.now() - this.#sentAt) / 1000
    this.step('first_chunk')
  }

  ended(outcome: AttemptOutcome, failure?: string, providerCode?: string): void {
    const { request, served, weights } = this.#facts
    const usage = this.#usage?.usage
    if (outcome === 'ok') this.#weight = weights.take(served.profile, request.model, standingOf(this.span))
    this.end({
      outcome,
      errorType: failure,
      isError: failure !== undefined,
      providerErrorCode: providerCode,
      httpStatus: this.#status,
      timeToFirstChunkS: this.#firstChunkSeconds,
      inputTokens: usage?.inputTokens,
      outputTokens: usage?.outputTokens,
      standsFor: this.#weight,
    })
  }

  /** How many calls the spans of this one stand for. */
  get weight(): number {
    return this.#weight
  }

  protected override details(): EventFields<'attempt'> {
    const { request, candidate, profile } = this.#facts
    const { hostname, path } = endpointOf(candidate.provider, request.protocol)
    return {
      stream: request.stream,
      billing: candidate.billing,
      serverAddress: hostname,
      urlPath: path,
      credentialFingerprint: bearerFingerprint(profile.credential),
      credentialExpiresInS: secondsUntil(expiryOf(profile.credential), this.#sentAtEpoch),
      providerRequestId: this.#requestId,
      answerType: this.#refusalType,
    }
  }
}

function secondsUntil(expiresAt: number | undefined, now: number): number | undefined {
  return expiresAt === undefined ? undefined : Math.round((expiresAt - now) / 1000)
}
