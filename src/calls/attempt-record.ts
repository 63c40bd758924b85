import { type Attributes, type Span, type SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api'
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
  ATTR_SERVER_ADDRESS,
  ATTR_TIME_TO_FIRST_CHUNK,
  EVENT_FIRST_CHUNK,
} from '../../otel/names.ts'
import type { AttemptOutcome } from '../../otel/words.ts'
import { bearerFingerprint, expiryOf } from '../domain/credential.ts'
import type { AnswerHeaders } from '../providers/answer-sink.ts'
import { UsageReader } from '../providers/usage-reader.ts'
import { callerAttributes } from '../telemetry/caller.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { AttemptFacts } from './attempt-facts.ts'
import type { CallRequest } from './call-request.ts'
import { endpointOf } from './endpoint.ts'

/** What telemetry keeps of one attempt. */
export class AttemptRecord {
  readonly #telemetry: Telemetry
  readonly #facts: AttemptFacts
  readonly #span: Span
  readonly #sentAt = performance.now()
  #usage: UsageReader | undefined
  #isFirstChunk = true

  constructor(telemetry: Telemetry, facts: AttemptFacts) {
    this.#telemetry = telemetry
    this.#facts = facts
    this.#span = telemetry.startSpan(spanName(facts.request), {
      kind: SpanKind.CLIENT,
      attributes: attributesOf(facts),
    })
  }

  head(status: number, headers: AnswerHeaders): void {
    this.#span.setAttribute(ATTR_HTTP_STATUS, status)
    const requestId = headers['x-request-id'] ?? headers['request-id']
    if (typeof requestId === 'string') this.#span.setAttribute(ATTR_PROVIDER_REQUEST_ID, requestId)
    if (status < 300) this.#usage = new UsageReader(String(headers['content-type'] ?? '').includes('text/event-stream'))
  }

  chunk(chunk: Buffer): void {
    this.#usage?.read(chunk)
    if (!this.#isFirstChunk) return
    this.#isFirstChunk = false
    const seconds = (performance.now() - this.#sentAt) / 1000
    this.#span.addEvent(EVENT_FIRST_CHUNK)
    this.#span.setAttribute(ATTR_TIME_TO_FIRST_CHUNK, seconds)
    this.#telemetry.instruments.record('timeToFirstChunk', seconds, this.#labels(), this.#context())
  }

  ended(outcome: AttemptOutcome, failure?: string, providerCode?: string): void {
    this.#span.setAttribute(ATTR_ATTEMPT_OUTCOME, outcome)
    if (providerCode) this.#span.setAttribute(ATTR_PROVIDER_ERROR_CODE, providerCode)
    if (failure) {
      this.#span.setAttribute(ATTR_ERROR_TYPE, failure)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#noteUsage()
    const { profile, request } = this.#facts
    this.#telemetry.instruments.record(
      'attemptDuration',
      (performance.now() - this.#sentAt) / 1000,
      {
        ...this.#labels(),
        credential_type: profile.credential.type,
        outcome,
        caller: request.caller.label,
        ...(failure && { [ATTR_ERROR_TYPE]: failure }),
      },
      this.#context(),
    )
    this.#span.end()
  }

  #noteUsage(): void {
    const usage = this.#usage?.usage
    if (!usage) return
    const { candidate, request } = this.#facts
    const labels = {
      [GENAI_OPERATION_NAME]: GENAI_OPERATIONS[request.protocol],
      [GENAI_PROVIDER_NAME]: candidate.provider.genaiName,
      [GENAI_REQUEST_MODEL]: request.model,
    }
    const note = (attribute: string, type: 'input' | 'output', tokens: number | undefined) => {
      if (tokens === undefined) return
      this.#span.setAttribute(attribute, tokens)
      this.#telemetry.instruments.record('genaiTokens', tokens, { ...labels, [GENAI_TOKEN_TYPE]: type }, this.#context())
    }
    note(GENAI_USAGE_INPUT_TOKENS, 'input', usage.inputTokens)
    note(GENAI_USAGE_OUTPUT_TOKENS, 'output', usage.outputTokens)
  }

  #labels(): { provider: string; model: string; profile: string } {
    const { candidate, request, served } = this.#facts
    return { provider: candidate.provider.id, model: request.model, profile: served.profile }
  }

  #context(): SpanContext {
    return this.#span.spanContext()
  }
}

function attributesOf({ request, candidate, profile, index, served }: AttemptFacts): Attributes {
  const sentFingerprint = bearerFingerprint(profile.credential)
  const expiresAt = expiryOf(profile.credential)
  return {
    [GENAI_OPERATION_NAME]: GENAI_OPERATIONS[request.protocol],
    [GENAI_PROVIDER_NAME]: candidate.provider.genaiName,
    [GENAI_REQUEST_MODEL]: request.model,
    [GENAI_REQUEST_STREAM]: request.stream,
    [ATTR_PROVIDER]: candidate.provider.id,
    [ATTR_PROFILE]: served.profile,
    [ATTR_BILLING]: candidate.billing,
    [ATTR_CREDENTIAL_TYPE]: profile.credential.type,
    [ATTR_ATTEMPT_INDEX]: index,
    [ATTR_SERVER_ADDRESS]: endpointOf(candidate.provider, request.protocol).hostname,
    ...(sentFingerprint && { [ATTR_CREDENTIAL_FINGERPRINT]: sentFingerprint }),
    ...(expiresAt !== undefined && { [ATTR_CREDENTIAL_EXPIRES_IN]: Math.round((expiresAt - Date.now()) / 1000) }),
    ...callerAttributes(request.caller),
  }
}

/** The GenAI convention's `{operation} {model}`; a listing of models has none. */
function spanName({ protocol, model }: CallRequest): string {
  return `${GENAI_OPERATIONS[protocol]} ${model}`.trimEnd()
}
