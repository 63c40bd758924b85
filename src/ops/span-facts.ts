import { GENAI_REQUEST_MODEL } from '../../otel/genai-semconv.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_BILLING,
  ATTR_BILLING_CHANGED,
  ATTR_CALLER_KIND,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_GENERATION,
  ATTR_CREDENTIAL_TYPE,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_PERMANENT,
  ATTR_PREFERRED_PROFILE,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_SAMPLE_WEIGHT,
  ATTR_TIME_TO_FIRST_CHUNK,
  EVENT_FALLBACK,
  SPAN_CALL,
  SPAN_LOGIN,
} from '../../otel/semconv.ts'
import { TOKEN_REQUEST_OUTCOMES } from '../domain/enums.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { attributeText } from '../events/attribute-value.ts'
import { acquisitionLabels } from '../events/label-dictionary.ts'
import { isRefresh, refreshRow } from '../events/refresh-row.ts'
import type { SpanRow } from '../events/span-row.ts'

const FAILURES: ReadonlySet<string> = new Set(TOKEN_REQUEST_OUTCOMES.filter(outcome => !isSuccess(outcome)))

/** What is kept of a refresh after its span is forgotten. Times are epoch ms. */
export interface RefreshFact {
  readonly atMs: number
  readonly durationMs: number
  readonly provider: string
  readonly profile: string
  readonly caller: string
  readonly reason: string
  readonly via: string
  /** Empty where none was known. */
  readonly outcome: string
  readonly failed: boolean
  readonly permanent: boolean
  readonly replay: boolean
  readonly stackId: string
  readonly traceId: string
}

/** The stack behind a stack id, and the shape of one request: too large to be kept with every fact. */
export interface RefreshDetail {
  readonly stack: string | undefined
  readonly file: string | undefined
  readonly line: number | undefined
  readonly isCode: boolean
  readonly shape: string | undefined
}

export interface AcquisitionFact {
  readonly atMs: number
  readonly profile: string
  readonly caller: string
  readonly reason: string
  readonly decision: string
  readonly traceId: string
}

/** A user signed in. */
export interface SignInFact {
  readonly atMs: number
  readonly provider: string
  readonly profile: string
}

/** One upstream request. */
export interface AttemptFact {
  readonly endMs: number
  readonly durationMs: number
  readonly firstChunkMs: number | undefined
  readonly provider: string
  readonly profile: string
  readonly model: string
  readonly outcome: string
  /** Neither a good one nor one that its caller gave up. */
  readonly failed: boolean
  readonly billing: string
  readonly type: string
  readonly expiresAtMs: number | undefined
  /** Fingerprint of the token or key; empty where none was seen. */
  readonly credential: string
  readonly traceId: string
  /** How many like it there were, itself included: not every good call is recorded. */
  readonly weight: number
}

/** One call of an application, over all its attempts. */
export interface CallFact {
  readonly atMs: number
  /** First the preferred profile, then each one that was gone on to, with what drove the call there. */
  readonly steps: readonly { readonly profile: string; readonly reason: string }[]
  /** How the profile that served pays; `failed` when none did, `aborted` when the caller left first. */
  readonly end: string
  /** A profile answered that pays otherwise than the preferred one. */
  readonly billingChanged: boolean
  readonly traceId: string
  /** How many like it there were, itself included. */
  readonly weight: number
}

export function refreshFact(span: SpanRow): (RefreshFact & { readonly detail: RefreshDetail }) | undefined {
  if (!isRefresh(span)) return undefined
  const { atMs, durationMs, provider, profile, caller, reason, via, outcome, replay, stackId, traceId, stack, file, line, shape } =
    refreshRow(span)
  return {
    atMs,
    durationMs,
    provider: provider ?? 'unknown',
    profile: profile ?? 'unknown',
    caller,
    reason,
    via,
    outcome: outcome ?? '',
    failed: span.status === 'error' || FAILURES.has(outcome ?? ''),
    permanent: span.attributes[ATTR_PERMANENT] === true,
    replay,
    stackId: stackId ?? '',
    traceId,
    detail: { stack, file, line, isCode: span.attributes[ATTR_CALLER_KIND] === 'code', shape },
  }
}

export function acquisitionFact(span: SpanRow): AcquisitionFact | undefined {
  const words = acquisitionLabels(span)
  return (
    words && { ...words, atMs: span.startMs, profile: attributeText(span.attributes[ATTR_PROFILE]) ?? 'unknown', traceId: span.traceId }
  )
}

export function signInFact({ name, attributes, startMs, durationMs, status }: SpanRow): SignInFact | undefined {
  const profile = attributeText(attributes[ATTR_PROFILE])
  if (name !== SPAN_LOGIN || status === 'error' || profile === undefined) return undefined
  return { atMs: startMs + durationMs, provider: attributeText(attributes[ATTR_PROVIDER]) ?? 'unknown', profile }
}

export function attemptFact({ name, attributes, startMs, durationMs, traceId, status }: SpanRow): AttemptFact | undefined {
  const outcome = attributeText(attributes[ATTR_ATTEMPT_OUTCOME])
  if (outcome === undefined || name === SPAN_CALL) return undefined
  const firstChunk = attributes[ATTR_TIME_TO_FIRST_CHUNK]
  const expiresIn = attributes[ATTR_CREDENTIAL_EXPIRES_IN]
  return {
    endMs: startMs + durationMs,
    durationMs,
    firstChunkMs: typeof firstChunk === 'number' ? firstChunk * 1000 : undefined,
    provider: attributeText(attributes[ATTR_PROVIDER]) ?? 'unknown',
    profile: attributeText(attributes[ATTR_PROFILE]) ?? 'unknown',
    model: attributeText(attributes[GENAI_REQUEST_MODEL]) ?? 'unknown',
    outcome,
    failed: outcome !== 'ok' && (status === 'error' || outcome !== 'aborted'),
    billing: attributeText(attributes[ATTR_BILLING]) ?? '',
    type: attributeText(attributes[ATTR_CREDENTIAL_TYPE]) ?? '',
    credential: attributeText(attributes[ATTR_CREDENTIAL_FINGERPRINT]) ?? '',
    expiresAtMs: typeof expiresIn === 'number' ? startMs + expiresIn * 1000 : undefined,
    traceId,
    weight: weight(attributes),
  }
}

export function callFact({ name, attributes, events, startMs, traceId, status }: SpanRow): CallFact | undefined {
  if (name !== SPAN_CALL) return undefined
  const fallbacks = events.filter(event => event.name === EVENT_FALLBACK)
  const served = attributeText(attributes[ATTR_PROFILE])
  const preferred =
    attributeText(fallbacks[0]?.attributes[ATTR_FALLBACK_FROM]) ??
    attributeText(attributes[ATTR_PREFERRED_PROFILE]) ??
    served ??
    'no profile'
  return {
    atMs: startMs,
    steps: [
      { profile: preferred, reason: '' },
      ...fallbacks.map(({ attributes: words }) => ({
        profile: attributeText(words[ATTR_FALLBACK_TO]) ?? 'unknown',
        reason: attributeText(words[ATTR_FALLBACK_REASON]) ?? 'unknown',
      })),
    ],
    end: endOf(attributes, status, served),
    billingChanged: attributes[ATTR_BILLING_CHANGED] === true,
    traceId,
    weight: weight(attributes),
  }
}

function endOf(attributes: SpanRow['attributes'], status: SpanRow['status'], served: string | undefined): string {
  if (status === 'error') return 'failed'
  if (attributes[ATTR_ATTEMPT_OUTCOME] === 'aborted') return 'aborted'
  return served === undefined ? 'failed' : (attributeText(attributes[ATTR_BILLING]) ?? 'unknown billing')
}

/** The generation a span speaks of, on itself or on one of its events. */
export function generationOf({ attributes, events }: SpanRow): number | undefined {
  const found = [attributes, ...events.map(event => event.attributes)].map(words => words[ATTR_CREDENTIAL_GENERATION])
  return found.findLast(value => typeof value === 'number')
}

function weight({ [ATTR_SAMPLE_WEIGHT]: count }: SpanRow['attributes']): number {
  return typeof count === 'number' && count > 1 ? count : 1
}
