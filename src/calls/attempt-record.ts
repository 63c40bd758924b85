import { type Attributes, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import {
  GENAI_OPERATION_NAME,
  GENAI_OPERATIONS,
  GENAI_PROVIDER_NAME,
  GENAI_REQUEST_MODEL,
  GENAI_REQUEST_STREAM,
  GENAI_TOKEN_TYPE,
  GENAI_USAGE_INPUT_TOKENS,
  GENAI_USAGE_OUTPUT_TOKENS,
} from '../../otel/genai-semconv.ts'
import {
  ATTR_ANSWER_TYPE,
  ATTR_ATTEMPT_INDEX,
  ATTR_ATTEMPT_OUTCOME,
  ATTR_BILLING,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_TYPE,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_PROVIDER_REQUEST_ID,
  ATTR_SAMPLE_WEIGHT,
  ATTR_SERVER_ADDRESS,
  ATTR_TIME_TO_FIRST_CHUNK,
  ATTR_URL_PATH,
  EVENT_FIRST_CHUNK,
} from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import { bearerFingerprint, expiryOf } from '../domain/credential.ts'
import type { AttemptOutcome } from '../domain/enums.ts'
import type { AnswerHeaders } from '../providers/upstream.ts'
import { UsageReader } from '../providers/usage-reader.ts'
import { exemplarOf, standingOf, type Telemetry } from '../telemetry/telemetry.ts'
import type { AttemptFacts } from './attempt-facts.ts'
import type { CallRequest } from './call-request.ts'
import { endpointOf } from './endpoint.ts'

/** What telemetry keeps of one attempt. */
export class AttemptRecord {
  readonly #telemetry: Telemetry
  readonly #facts: AttemptFacts
  readonly #span: Span
  readonly #sentAt = performance.now()
  readonly #sentAtEpoch = Date.now()
  #status: number | undefined
  #requestId: string | undefined
  #refusalType: string | undefined
  #firstChunkSeconds: number | undefined
  #usage: UsageReader | undefined
  #outcome: AttemptOutcome | undefined
  #weight = 1

  constructor(telemetry: Telemetry, facts: AttemptFacts) {
    this.#telemetry = telemetry
    this.#facts = facts
    this.#span = telemetry.startSpan(spanName(facts.request), { kind: SpanKind.CLIENT, describe: () => this.#attributes() })
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
    this.#span.addEvent(EVENT_FIRST_CHUNK)
    const { candidate, request, served } = this.#facts
    const labels = { provider: candidate.provider.id, model: request.model, profile: served.profile }
    this.#telemetry.instruments.record('timeToFirstChunk', this.#firstChunkSeconds, labels, exemplarOf(this.#span))
  }

  ended(outcome: AttemptOutcome, failure?: string, providerCode?: string): void {
    this.#outcome = outcome
    // What is set here, and not only computed when asked, has the trace kept.
    if (outcome !== 'ok') this.#span.setAttribute(ATTR_ATTEMPT_OUTCOME, outcome)
    if (providerCode) this.#span.setAttribute(ATTR_PROVIDER_ERROR_CODE, providerCode)
    if (failure) {
      this.#span.setAttribute(ATTR_ERROR_TYPE, failure)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#measureUsage()
    const { candidate, profile, request, served, weights } = this.#facts
    if (outcome === 'ok') this.#weight = weights.take(served.profile, request.model, standingOf(this.#span))
    this.#telemetry.instruments.record(
      'attemptDuration',
      (performance.now() - this.#sentAt) / 1000,
      {
        provider: candidate.provider.id,
        model: request.model,
        profile: served.profile,
        credential_type: profile.credential.type,
        outcome,
        caller: request.caller.label,
        [ATTR_ERROR_TYPE]: failure,
      },
      exemplarOf(this.#span),
    )
    this.#span.end()
  }

  /** How many calls the spans of this one stand for. */
  get weight(): number {
    return this.#weight
  }

  #measureUsage(): void {
    const usage = this.#usage?.usage
    if (!usage) return
    this.#measureTokens('input', usage.inputTokens)
    this.#measureTokens('output', usage.outputTokens)
  }

  #measureTokens(type: 'input' | 'output', tokens: number | undefined): void {
    if (tokens === undefined) return
    const { candidate, request } = this.#facts
    this.#telemetry.instruments.record(
      'genaiTokens',
      tokens,
      {
        [GENAI_OPERATION_NAME]: GENAI_OPERATIONS[request.protocol],
        [GENAI_PROVIDER_NAME]: candidate.provider.genaiName,
        [GENAI_REQUEST_MODEL]: request.model,
        [GENAI_TOKEN_TYPE]: type,
      },
      exemplarOf(this.#span),
    )
  }

  #attributes(): Attributes {
    const { request, candidate, profile, index, served } = this.#facts
    const usage = this.#usage?.usage
    const { hostname, path } = endpointOf(candidate.provider, request.protocol)
    return given({
      [GENAI_OPERATION_NAME]: GENAI_OPERATIONS[request.protocol],
      [GENAI_PROVIDER_NAME]: candidate.provider.genaiName,
      [GENAI_REQUEST_MODEL]: request.model,
      [GENAI_REQUEST_STREAM]: request.stream,
      [ATTR_PROVIDER]: candidate.provider.id,
      [ATTR_PROFILE]: served.profile,
      [ATTR_BILLING]: candidate.billing,
      [ATTR_CREDENTIAL_TYPE]: profile.credential.type,
      [ATTR_ATTEMPT_INDEX]: index,
      [ATTR_SERVER_ADDRESS]: hostname,
      [ATTR_URL_PATH]: path,
      [ATTR_CREDENTIAL_FINGERPRINT]: bearerFingerprint(profile.credential),
      [ATTR_CREDENTIAL_EXPIRES_IN]: secondsUntil(expiryOf(profile.credential), this.#sentAtEpoch),
      [ATTR_HTTP_STATUS]: this.#status,
      [ATTR_PROVIDER_REQUEST_ID]: this.#requestId,
      [ATTR_ANSWER_TYPE]: this.#refusalType,
      [ATTR_TIME_TO_FIRST_CHUNK]: this.#firstChunkSeconds,
      [ATTR_ATTEMPT_OUTCOME]: this.#outcome,
      [ATTR_SAMPLE_WEIGHT]: this.#weight > 1 ? this.#weight : undefined,
      [GENAI_USAGE_INPUT_TOKENS]: usage?.inputTokens,
      [GENAI_USAGE_OUTPUT_TOKENS]: usage?.outputTokens,
      ...callerAttributes(request.caller),
    })
  }
}

/** Without the attributes of which nothing is known. */
function given(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined))
}

function secondsUntil(expiresAt: number | undefined, now: number): number | undefined {
  return expiresAt === undefined ? undefined : Math.round((expiresAt - now) / 1000)
}

/** The GenAI convention's `{operation} {model}`; a listing of models has none. */
function spanName({ protocol, model }: CallRequest): string {
  return `${GENAI_OPERATIONS[protocol]} ${model}`.trimEnd()
}
