import type { Attributes, AttributeValue, SpanKind } from '@opentelemetry/api'
import {
  GENAI_OPERATION_NAME,
  GENAI_PROVIDER_NAME,
  GENAI_REQUEST_MODEL,
  GENAI_REQUEST_STREAM,
  GENAI_USAGE_INPUT_TOKENS,
  GENAI_USAGE_OUTPUT_TOKENS,
} from '../../otel/genai-semconv.ts'
import {
  ATTR_ACCOUNT_AFTER,
  ATTR_ACCOUNT_BEFORE,
  ATTR_ACQUISITIONS,
  ATTR_ANSWER_TYPE,
  ATTR_ATTEMPT_INDEX,
  ATTR_ATTEMPT_OUTCOME,
  ATTR_ATTEMPTS,
  ATTR_BILLING,
  ATTR_BILLING_CHANGED,
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CLIENT_PROCESS,
  ATTR_CLOCK_SKEW,
  ATTR_CODE_COLUMN,
  ATTR_CODE_FILE,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_FINGERPRINT,
  ATTR_CREDENTIAL_GENERATION,
  ATTR_CREDENTIAL_TYPE,
  ATTR_DECISION,
  ATTR_DEVICE_POLLS,
  ATTR_ERROR_TYPE,
  ATTR_EXPIRES_IN_REPAIRED,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_GATE_SEEN,
  ATTR_HAS_ACCESS,
  ATTR_HAS_REFRESH,
  ATTR_HTTP_METHOD,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  ATTR_IMPORT_COUNTS,
  ATTR_IMPORT_DRY_RUN,
  ATTR_IMPORT_SOURCE,
  ATTR_LAST_RESORT,
  ATTR_LEASE_HOLDER,
  ATTR_LEASE_TAKEN_FROM,
  ATTR_LEASE_WAIT,
  ATTR_LOGIN_METHOD,
  ATTR_NEXT,
  ATTR_OPERATION_OUTCOME,
  ATTR_OUTCOME,
  ATTR_PENDING_AGE,
  ATTR_PENDING_PROCESS,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PREFERRED_PROFILE,
  ATTR_PROBE_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROTOCOL,
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
  ATTR_SAMPLE_WEIGHT,
  ATTR_SERVER_ADDRESS,
  ATTR_SIDE_CHANNEL,
  ATTR_SKIP_REASON,
  ATTR_STACK_ID,
  ATTR_TIME_TO_FIRST_CHUNK,
  ATTR_TOKEN_AGE,
  ATTR_TOKEN_REQUESTS,
  ATTR_UNCERTAINTY,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_ANSWER_RECEIVED,
  EVENT_BILLING_CHANGED,
  EVENT_BYPASS,
  EVENT_CREDENTIAL_RELOADED,
  EVENT_FALLBACK,
  EVENT_FIRST_CHUNK,
  EVENT_HELD_BACK,
  EVENT_JOINED,
  EVENT_LEASE_HELD,
  EVENT_LEASE_LOST,
  EVENT_LEASE_REQUESTED,
  EVENT_PERSISTED,
  EVENT_PUBLISHED,
  EVENT_REPLAY,
  EVENT_REQUEST_SENT,
  EVENT_SENDER_AWAITED,
  EVENT_SKIPPED,
  EVENT_WAITING_ENDED,
  SPAN_ACQUIRE,
  SPAN_CALL,
  SPAN_DEVICE,
  SPAN_EXCHANGE,
  SPAN_IMPORT,
  SPAN_LOGIN,
  SPAN_PROBE,
  SPAN_REFRESH,
  SPAN_REVOKE,
  SPAN_SIDE_CHANNEL,
} from '../../otel/semconv.ts'
import {
  IMPORT_OUTCOMES,
  type ImportOutcome,
  type OAuthOperation,
  TOKEN_REQUEST_OUTCOMES,
  type TokenRequestOutcome,
} from '../domain/enums.ts'
import type { EventCaller, EventFacts, EventProcess, EventStep, GatewatchEvent, SpanReference, StepName } from '../domain/events.ts'
import { isPermanent, isSuccess } from '../domain/token-request-outcome.ts'

/** A span of ours, as a file in OTLP shows it. */
export interface EventSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  readonly startMs: number
  readonly durationMs: number
  readonly status: 'ok' | 'error' | 'unset'
  readonly attributes: Readonly<Record<string, AttributeValue | undefined>>
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes?: EventSpan['attributes'] }[]
  readonly links: readonly SpanReference[]
  readonly process?: EventProcess | undefined
}

/** Fields that need more than the table. */
interface FieldsOfSpan {
  readonly standsFor?: number | undefined
  readonly outcome?: string | undefined
  readonly importCounts?: Readonly<Partial<Record<ImportOutcome, number>>> | undefined
}

type KeysOf<T> = T extends unknown ? keyof T : never
/** Fields that are something else than one attribute. */
type Structural =
  | ('kind' | 'startMs' | 'durationMs' | 'traceId' | 'spanId' | 'parentSpanId' | 'links' | 'caller' | 'isError' | 'steps' | 'process')
  | ('grant' | 'operation' | 'outcome' | 'importCounts' | 'importCountsByProvider' | 'version' | 'settingsDigest' | 'name' | 'atMs')
/** Fields of events and steps that are one attribute each. */
type EventField = Exclude<KeysOf<GatewatchEvent> | keyof EventStep, Structural>

/** The attribute of each field: written and read by this table alone. */
export const FIELD_ATTRIBUTES: Readonly<Record<EventField, string>> = {
  provider: ATTR_PROVIDER,
  profile: ATTR_PROFILE,
  errorType: ATTR_ERROR_TYPE,
  standsFor: ATTR_SAMPLE_WEIGHT,
  serverAddress: ATTR_SERVER_ADDRESS,
  urlPath: ATTR_URL_PATH,
  httpMethod: ATTR_HTTP_METHOD,
  httpRoute: ATTR_HTTP_ROUTE,
  httpStatus: ATTR_HTTP_STATUS,
  providerErrorCode: ATTR_PROVIDER_ERROR_CODE,
  providerRequestId: ATTR_PROVIDER_REQUEST_ID,
  answerType: ATTR_ANSWER_TYPE,
  requestEncoding: ATTR_REQUEST_ENCODING,
  requestFields: ATTR_REQUEST_FIELDS,
  requestClientFingerprint: ATTR_REQUEST_CLIENT,
  requestScopes: ATTR_REQUEST_SCOPES,
  requestHeaders: ATTR_REQUEST_HEADERS,
  requestUserAgentFingerprint: ATTR_REQUEST_USER_AGENT,
  reasonDeclared: ATTR_REASON_DECLARED,
  reason: ATTR_REASON,
  via: ATTR_VIA,
  uncertainty: ATTR_UNCERTAINTY,
  policy: ATTR_POLICY,
  gateSeen: ATTR_GATE_SEEN,
  replay: ATTR_REPLAY,
  refreshTokenRetained: ATTR_REFRESH_RETAINED,
  refreshFingerprintBefore: ATTR_REFRESH_FINGERPRINT_BEFORE,
  refreshFingerprintAfter: ATTR_REFRESH_FINGERPRINT_AFTER,
  credentialFingerprint: ATTR_CREDENTIAL_FINGERPRINT,
  generation: ATTR_CREDENTIAL_GENERATION,
  credentialExpiresInS: ATTR_CREDENTIAL_EXPIRES_IN,
  hasAccess: ATTR_HAS_ACCESS,
  hasRefresh: ATTR_HAS_REFRESH,
  rejectedFingerprint: ATTR_REJECTED_FINGERPRINT,
  tokenAgeS: ATTR_TOKEN_AGE,
  expiresInRepaired: ATTR_EXPIRES_IN_REPAIRED,
  retryAfterS: ATTR_RETRY_AFTER,
  clockSkewS: ATTR_CLOCK_SKEW,
  accountBefore: ATTR_ACCOUNT_BEFORE,
  accountAfter: ATTR_ACCOUNT_AFTER,
  acquisitions: ATTR_ACQUISITIONS,
  tokenRequests: ATTR_TOKEN_REQUESTS,
  leaseHolder: ATTR_LEASE_HOLDER,
  next: ATTR_NEXT,
  decision: ATTR_DECISION,
  clientProcess: ATTR_CLIENT_PROCESS,
  protocol: ATTR_PROTOCOL,
  genaiOperation: GENAI_OPERATION_NAME,
  genaiProvider: GENAI_PROVIDER_NAME,
  model: GENAI_REQUEST_MODEL,
  stream: GENAI_REQUEST_STREAM,
  attempts: ATTR_ATTEMPTS,
  attemptIndex: ATTR_ATTEMPT_INDEX,
  preferredProfile: ATTR_PREFERRED_PROFILE,
  billing: ATTR_BILLING,
  billingChanged: ATTR_BILLING_CHANGED,
  lastResort: ATTR_LAST_RESORT,
  credentialType: ATTR_CREDENTIAL_TYPE,
  timeToFirstChunkS: ATTR_TIME_TO_FIRST_CHUNK,
  inputTokens: GENAI_USAGE_INPUT_TOKENS,
  outputTokens: GENAI_USAGE_OUTPUT_TOKENS,
  loginMethod: ATTR_LOGIN_METHOD,
  devicePolls: ATTR_DEVICE_POLLS,
  importSource: ATTR_IMPORT_SOURCE,
  dryRun: ATTR_IMPORT_DRY_RUN,
  channel: ATTR_SIDE_CHANNEL,
  skipReason: ATTR_SKIP_REASON,
  fallbackFrom: ATTR_FALLBACK_FROM,
  fallbackTo: ATTR_FALLBACK_TO,
  fallbackReason: ATTR_FALLBACK_REASON,
  leaseWaitS: ATTR_LEASE_WAIT,
  leaseTakenFrom: ATTR_LEASE_TAKEN_FROM,
  pendingProcess: ATTR_PENDING_PROCESS,
  pendingAgeS: ATTR_PENDING_AGE,
}

/** The attribute of each field of a caller. */
export const CALLER_ATTRIBUTES: Readonly<Record<keyof EventCaller, string>> = {
  label: ATTR_CALLER,
  kind: ATTR_CALLER_KIND,
  stackId: ATTR_STACK_ID,
  function: ATTR_CODE_FUNCTION,
  file: ATTR_CODE_FILE,
  line: ATTR_CODE_LINE,
  column: ATTR_CODE_COLUMN,
  stack: ATTR_CODE_STACK,
}

/** The name of the span event of each step. */
export const STEP_EVENTS: Readonly<Record<StepName, string>> = {
  lease_requested: EVENT_LEASE_REQUESTED,
  lease_held: EVENT_LEASE_HELD,
  lease_lost: EVENT_LEASE_LOST,
  credential_reloaded: EVENT_CREDENTIAL_RELOADED,
  sender_awaited: EVENT_SENDER_AWAITED,
  held_back: EVENT_HELD_BACK,
  request_sent: EVENT_REQUEST_SENT,
  waiting_ended: EVENT_WAITING_ENDED,
  answer_received: EVENT_ANSWER_RECEIVED,
  persisted: EVENT_PERSISTED,
  published: EVENT_PUBLISHED,
  bypass: EVENT_BYPASS,
  replay: EVENT_REPLAY,
  joined: EVENT_JOINED,
  skipped: EVENT_SKIPPED,
  fallback: EVENT_FALLBACK,
  billing_changed: EVENT_BILLING_CHANGED,
  first_chunk: EVENT_FIRST_CHUNK,
}

/** The span of each OAuth operation. */
export const LOGIN_SPANS: Readonly<Record<OAuthOperation, string>> = {
  login: SPAN_LOGIN,
  exchange: SPAN_EXCHANGE,
  device: SPAN_DEVICE,
  revoke: SPAN_REVOKE,
}

/** The attribute that says how an event of each kind ended. */
export const OUTCOME_ATTRIBUTES = {
  token_request: ATTR_OUTCOME,
  acquire: ATTR_OUTCOME,
  call: ATTR_ATTEMPT_OUTCOME,
  attempt: ATTR_ATTEMPT_OUTCOME,
  login: ATTR_OPERATION_OUTCOME,
  probe: ATTR_PROBE_OUTCOME,
} as const satisfies Partial<Record<GatewatchEvent['kind'], string>>

/** The span name of an event; `undefined` for one that no span is written from. */
export function spanNameOf(event: EventFacts): string | undefined {
  switch (event.kind) {
    case 'token_request':
      return event.grant === 'other' ? SPAN_EXCHANGE : SPAN_REFRESH
    case 'acquire':
      return SPAN_ACQUIRE
    case 'call':
      return SPAN_CALL
    case 'attempt':
      return event.genaiOperation ? withName(event.genaiOperation, event.model) : (event.httpMethod ?? '')
    case 'login':
      return LOGIN_SPANS[event.operation]
    case 'import':
      return SPAN_IMPORT
    case 'probe':
      return SPAN_PROBE
    case 'side_channel':
      return SPAN_SIDE_CHANNEL
    case 'inbound':
      return withName(event.httpMethod ?? '', event.httpRoute)
    case 'config':
      return undefined
    default:
      return event satisfies never
  }
}

function withName(operation: string, name: string | undefined): string {
  return name ? `${operation} ${name}` : operation
}

/** OpenTelemetry's kinds of spans by our words, as numbers: a watched process loads nothing of the API for them. */
export const SPAN_KINDS = {
  internal: 0 satisfies SpanKind.INTERNAL,
  server: 1 satisfies SpanKind.SERVER,
  client: 2 satisfies SpanKind.CLIENT,
  producer: 3 satisfies SpanKind.PRODUCER,
  consumer: 4 satisfies SpanKind.CONSUMER,
} as const satisfies Readonly<Record<EventSpan['kind'], SpanKind>>

/** Whether the span of an event is that of a request sent, of one received, or of neither. */
export function spanKindOf({ kind }: Pick<GatewatchEvent, 'kind'>): EventSpan['kind'] {
  if (kind === 'inbound') return 'server'
  return kind === 'token_request' || kind === 'attempt' || kind === 'login' ? 'client' : 'internal'
}

/** What the span of an event says: every field of which something is known. */
export function attributesOfEvent(event: EventFacts): Attributes {
  const { kind, caller }: Pick<EventFacts, 'kind' | 'caller'> = event
  const { standsFor = 1, outcome, importCounts }: FieldsOfSpan = event
  const attributes = fieldAttributes(event)
  // Of an inbound request there is none in this process.
  if (kind !== 'inbound' || caller.kind !== 'unknown') Object.assign(attributes, callerFieldAttributes(caller))
  if (standsFor <= 1) delete attributes[ATTR_SAMPLE_WEIGHT]
  if (outcome !== undefined) attributes[OUTCOME_ATTRIBUTES[kind as keyof typeof OUTCOME_ATTRIBUTES]] = outcome
  if (kind === 'token_request' && isFailure(outcome)) attributes[ATTR_PERMANENT] = isPermanent(outcome)
  for (const name of importCounts ? IMPORT_OUTCOMES : []) {
    const count = importCounts?.[name]
    if (count !== undefined) attributes[ATTR_IMPORT_COUNTS[name]] = count
  }
  return attributes
}

/** What the span event of a step says. */
export function attributesOfStep(step: Partial<EventStep>): Attributes {
  return { ...fieldAttributes(step), ...(step.caller && callerFieldAttributes(step.caller)) }
}

function fieldAttributes(fields: object): Attributes {
  const attributes: Attributes = {}
  for (const [field, value] of Object.entries(fields)) {
    const attribute = Object.hasOwn(FIELD_ATTRIBUTES, field) ? FIELD_ATTRIBUTES[field as EventField] : undefined
    if (attribute !== undefined && value !== undefined) attributes[attribute] = value as AttributeValue
  }
  return attributes
}

function callerFieldAttributes(caller: EventCaller): Attributes {
  const attributes: Attributes = {}
  for (const [field, value] of Object.entries(caller))
    if (value !== undefined) attributes[CALLER_ATTRIBUTES[field as keyof EventCaller]] = value
  return attributes
}

function isFailure(outcome: string | undefined): outcome is TokenRequestOutcome {
  return TOKEN_REQUEST_OUTCOMES.some(known => known === outcome && !isSuccess(known))
}
