/**
 * Every telemetry name of Gatewatch: spans, events, attributes, metrics; with unit, help and allowed values.
 *
 * Nothing else in the repository writes such a name as a string. Redaction is driven by this table too: an attribute
 * that is not in it never leaves the process (see `src/telemetry/redaction-processor.ts`).
 */

import {
  ATTEMPT_OUTCOMES,
  BILLINGS,
  BYPASS_POLICIES,
  CALLER_KINDS,
  CREDENTIAL_TYPES,
  DECISIONS,
  DROP_PLACES,
  IMPORT_OUTCOMES,
  IMPORT_SOURCES,
  type ImportOutcome,
  LOGIN_METHODS,
  OAUTH_OPERATIONS,
  OPERATION_OUTCOMES,
  PROBE_OUTCOMES,
  PROCESS_ROLES,
  PROFILE_STATES,
  PROTOCOLS,
  REFRESH_REASONS,
  SIDE_CHANNELS,
  SKIP_REASONS,
  STORE_OPERATIONS,
  TOKEN_REQUEST_OUTCOMES,
  UNCERTAINTIES,
  VIAS,
} from '../src/domain/enums.ts'
import {
  GENAI_CLIENT_OPERATION_DURATION,
  GENAI_CLIENT_TOKEN_USAGE,
  GENAI_DURATION_BUCKETS,
  GENAI_OPERATION_NAME,
  GENAI_PROVIDER_NAME,
  GENAI_REQUEST_MODEL,
  GENAI_REQUEST_STREAM,
  GENAI_TOKEN_BUCKETS,
  GENAI_TOKEN_TYPE,
  GENAI_USAGE_INPUT_TOKENS,
  GENAI_USAGE_OUTPUT_TOKENS,
} from './genai-semconv.ts'

/** The instrumentation scope of every span and metric. */
export const SCOPE = 'gatewatch'

export const SPAN_CALL = 'gatewatch.call'
export const SPAN_ACQUIRE = 'gatewatch.gate.acquire'
export const SPAN_REFRESH = 'gatewatch.oauth.refresh'
export const SPAN_LOGIN = 'gatewatch.oauth.login'
export const SPAN_EXCHANGE = 'gatewatch.oauth.exchange'
export const SPAN_DEVICE = 'gatewatch.oauth.device'
export const SPAN_REVOKE = 'gatewatch.oauth.revoke'
export const SPAN_IMPORT = 'gatewatch.oauth.import'
export const SPAN_PROBE = 'gatewatch.oauth.probe'
export const SPAN_SIDE_CHANNEL = 'gatewatch.oauth.side_channel'

/** Node's own channel for inbound requests; it reads like one of our names, so it stands with them. */
export const CHANNEL_INBOUND = 'http.server.request.start'

/** Events on the refresh's span, in the order in which they can happen; the last one seen is where a refresh stopped. */
export const EVENT_LEASE_REQUESTED = 'gatewatch.lease.requested'
export const EVENT_LEASE_HELD = 'gatewatch.lease.held'
export const EVENT_LEASE_LOST = 'gatewatch.lease.lost'
export const EVENT_CREDENTIAL_RELOADED = 'gatewatch.credential.reloaded'
export const EVENT_SENDER_AWAITED = 'gatewatch.lease.sender_awaited'
export const EVENT_HELD_BACK = 'gatewatch.token_request.held_back'
export const EVENT_REQUEST_SENT = 'gatewatch.token_request.sent'
export const EVENT_WAITING_ENDED = 'gatewatch.refresh.waiting_ended'
export const EVENT_ANSWER_RECEIVED = 'gatewatch.token_request.answered'
export const EVENT_PERSISTED = 'gatewatch.credential.persisted'
export const EVENT_PUBLISHED = 'gatewatch.credential.published'
export const EVENT_BYPASS = 'gatewatch.bypass'
export const EVENT_REPLAY = 'gatewatch.replay'
export const EVENT_JOINED = 'gatewatch.refresh.joined'
export const EVENT_SKIPPED = 'gatewatch.profile.skipped'
export const EVENT_FALLBACK = 'gatewatch.fallback'
export const EVENT_BILLING_CHANGED = 'gatewatch.billing.changed'
export const EVENT_FIRST_CHUNK = 'gatewatch.first_chunk'

/**
 * How the value of an attribute may look; the redaction choke point enforces it.
 *
 * `list`: one of `values`. `number`, `boolean`: just that. `digest`: short hex. `label`: a short bounded word, screened
 * for secrets. `code`: function names, paths, stacks. `text`: free text, screened and cut.
 */
export type AttributeClass = 'list' | 'number' | 'boolean' | 'digest' | 'label' | 'code' | 'text'

export interface AttributeDefinition {
  readonly class: AttributeClass
  readonly help: string
  readonly values?: readonly string[]
}

export const ATTR_PROVIDER = 'gatewatch.provider'
export const ATTR_PROFILE = 'gatewatch.profile'
export const ATTR_PREFERRED_PROFILE = 'gatewatch.profile.preferred'
export const ATTR_BILLING = 'gatewatch.billing'
export const ATTR_BILLING_CHANGED = 'gatewatch.billing.changed'
export const ATTR_CREDENTIAL_TYPE = 'gatewatch.credential.type'
export const ATTR_CREDENTIAL_FINGERPRINT = 'gatewatch.credential.fingerprint'
export const ATTR_CREDENTIAL_GENERATION = 'gatewatch.credential.generation'
export const ATTR_CREDENTIAL_EXPIRES_IN = 'gatewatch.credential.expires_in'
export const ATTR_HAS_ACCESS = 'gatewatch.credential.has_access'
export const ATTR_HAS_REFRESH = 'gatewatch.credential.has_refresh'
export const ATTR_REJECTED_FINGERPRINT = 'gatewatch.credential.rejected_fingerprint'
export const ATTR_REFRESH_FINGERPRINT_BEFORE = 'gatewatch.refresh_token.fingerprint_before'
export const ATTR_REFRESH_FINGERPRINT_AFTER = 'gatewatch.refresh_token.fingerprint_after'
export const ATTR_REFRESH_RETAINED = 'gatewatch.refresh_token.retained'
export const ATTR_TOKEN_AGE = 'gatewatch.token.age'
export const ATTR_REASON = 'gatewatch.reason'
export const ATTR_REASON_DECLARED = 'gatewatch.reason.declared'
export const ATTR_DECISION = 'gatewatch.decision'
export const ATTR_OUTCOME = 'gatewatch.outcome'
export const ATTR_PERMANENT = 'gatewatch.outcome.permanent'
export const ATTR_ATTEMPT_OUTCOME = 'gatewatch.attempt.outcome'
export const ATTR_ATTEMPT_INDEX = 'gatewatch.attempt.index'
export const ATTR_ATTEMPTS = 'gatewatch.attempts'
export const ATTR_LAST_RESORT = 'gatewatch.last_resort'
export const ATTR_SKIP_REASON = 'gatewatch.skip.reason'
export const ATTR_FALLBACK_FROM = 'gatewatch.fallback.from'
export const ATTR_FALLBACK_TO = 'gatewatch.fallback.to'
export const ATTR_FALLBACK_REASON = 'gatewatch.fallback.reason'
export const ATTR_PROBE_OUTCOME = 'gatewatch.probe.outcome'
export const ATTR_OPERATION_OUTCOME = 'gatewatch.operation.outcome'
export const ATTR_LOGIN_METHOD = 'gatewatch.login.method'
export const ATTR_DEVICE_POLLS = 'gatewatch.device.polls'
export const ATTR_PROTOCOL = 'gatewatch.protocol'
export const ATTR_VIA = 'gatewatch.via'
export const ATTR_UNCERTAINTY = 'gatewatch.via.uncertainty'
export const ATTR_GATE_SEEN = 'gatewatch.gate.seen'
export const ATTR_SIDE_CHANNEL = 'gatewatch.side_channel'
export const ATTR_POLICY = 'gatewatch.policy'
export const ATTR_CALLER = 'gatewatch.caller'
export const ATTR_CALLER_KIND = 'gatewatch.caller.kind'
export const ATTR_STACK_ID = 'gatewatch.caller.stack_id'
export const ATTR_PROCESS_ROLE = 'gatewatch.process.role'
export const ATTR_CLIENT_PROCESS = 'gatewatch.client.process'
export const ATTR_LEASE_WAIT = 'gatewatch.lease.wait'
export const ATTR_LEASE_TAKEN_FROM = 'gatewatch.lease.taken_from'
export const ATTR_LEASE_HOLDER = 'gatewatch.lease.holder'
export const ATTR_PENDING_PROCESS = 'gatewatch.pending.process'
export const ATTR_PENDING_AGE = 'gatewatch.pending.age'
export const ATTR_CLOCK_SKEW = 'gatewatch.clock.skew'
export const ATTR_EXPIRES_IN_REPAIRED = 'gatewatch.token.expires_in_repaired'
export const ATTR_REPLAY = 'gatewatch.replay'
export const ATTR_ACQUISITIONS = 'gatewatch.refresh.acquisitions'
export const ATTR_REQUEST_ENCODING = 'gatewatch.request.encoding'
export const ATTR_REQUEST_FIELDS = 'gatewatch.request.fields'
export const ATTR_REQUEST_CLIENT = 'gatewatch.request.client_fingerprint'
export const ATTR_REQUEST_SCOPES = 'gatewatch.request.scopes'
export const ATTR_REQUEST_HEADERS = 'gatewatch.request.headers'
export const ATTR_REQUEST_USER_AGENT = 'gatewatch.request.user_agent_fingerprint'
export const ATTR_ANSWER_TYPE = 'gatewatch.answer.content_type'
export const ATTR_RETRY_AFTER = 'gatewatch.answer.retry_after'
export const ATTR_ACCOUNT_BEFORE = 'gatewatch.account.fingerprint_before'
export const ATTR_ACCOUNT_AFTER = 'gatewatch.account.fingerprint_after'
export const ATTR_TOKEN_REQUESTS = 'gatewatch.token_requests'
export const ATTR_PROVIDER_ERROR_CODE = 'gatewatch.provider.error_code'
export const ATTR_PROVIDER_REQUEST_ID = 'gatewatch.provider.request_id'
export const ATTR_IMPORT_SOURCE = 'gatewatch.import.source'
export const ATTR_IMPORT_DRY_RUN = 'gatewatch.import.dry_run'
/** Profiles of an import by what was done with them. */
export const ATTR_IMPORT_COUNTS = {
  imported: 'gatewatch.import.imported',
  replaced: 'gatewatch.import.replaced',
  unchanged: 'gatewatch.import.unchanged',
  exists: 'gatewatch.import.exists',
  needs_owner: 'gatewatch.import.needs_owner',
  unusable: 'gatewatch.import.unusable',
} as const satisfies Record<ImportOutcome, string>
export const ATTR_NEXT = 'gatewatch.next'
export const ATTR_SAMPLE_WEIGHT = 'gatewatch.sample.weight'
export const ATTR_TIME_TO_FIRST_CHUNK = 'gen_ai.response.time_to_first_chunk'

export const ATTR_CODE_FUNCTION = 'code.function.name'
export const ATTR_CODE_FILE = 'code.file.path'
export const ATTR_CODE_LINE = 'code.line.number'
export const ATTR_CODE_COLUMN = 'code.column.number'
export const ATTR_CODE_STACK = 'code.stacktrace'
export const ATTR_ERROR_TYPE = 'error.type'
export const ATTR_HTTP_METHOD = 'http.request.method'
export const ATTR_HTTP_ROUTE = 'http.route'
export const ATTR_HTTP_STATUS = 'http.response.status_code'
export const ATTR_SERVER_ADDRESS = 'server.address'
export const ATTR_URL_PATH = 'url.path'

export const ATTRIBUTES: Readonly<Record<string, AttributeDefinition>> = {
  [ATTR_PROVIDER]: { class: 'label', help: 'The service that answers model calls or mints its tokens.' },
  [ATTR_PROFILE]: { class: 'label', help: 'The profile, its name hashed unless it is a plain word or configured otherwise.' },
  [ATTR_PREFERRED_PROFILE]: { class: 'label', help: 'The profile that serves the call when all is well, named as the profile is.' },
  [ATTR_BILLING]: { class: 'list', values: BILLINGS, help: 'How the profile pays.' },
  [ATTR_BILLING_CHANGED]: {
    class: 'boolean',
    help: 'The profile that answered pays otherwise than the preferred one; on the span of a call, once it is answered.',
  },
  [ATTR_CREDENTIAL_TYPE]: { class: 'list', values: CREDENTIAL_TYPES, help: 'What the profile holds.' },
  [ATTR_CREDENTIAL_FINGERPRINT]: { class: 'digest', help: 'Fingerprint of the access token or key in use.' },
  [ATTR_CREDENTIAL_GENERATION]: { class: 'number', help: 'Rotations this OAuth credential has seen.' },
  [ATTR_CREDENTIAL_EXPIRES_IN]: { class: 'number', help: 'Seconds until the access token expires, at this moment; negative when it has.' },
  [ATTR_HAS_ACCESS]: { class: 'boolean', help: 'An access token was there.' },
  [ATTR_HAS_REFRESH]: { class: 'boolean', help: 'A refresh token was there.' },
  [ATTR_REJECTED_FINGERPRINT]: { class: 'digest', help: 'Fingerprint of the access token the provider rejected.' },
  [ATTR_REFRESH_FINGERPRINT_BEFORE]: { class: 'digest', help: 'Fingerprint of the refresh token that was sent.' },
  [ATTR_REFRESH_FINGERPRINT_AFTER]: { class: 'digest', help: 'Fingerprint of the refresh token that came back.' },
  [ATTR_REFRESH_RETAINED]: { class: 'boolean', help: 'The answer held no refresh token; the old one was kept.' },
  [ATTR_TOKEN_AGE]: { class: 'number', help: 'Seconds between the issue of the access token and this refresh.' },
  [ATTR_REASON]: { class: 'list', values: REFRESH_REASONS, help: 'Why a fresh token was wanted.' },
  [ATTR_REASON_DECLARED]: { class: 'label', help: 'The reason that the client itself put into its token request.' },
  [ATTR_DECISION]: { class: 'list', values: DECISIONS, help: 'What the gate did with the acquisition.' },
  [ATTR_OUTCOME]: { class: 'list', values: TOKEN_REQUEST_OUTCOMES, help: 'How the refresh ended.' },
  [ATTR_PERMANENT]: { class: 'boolean', help: 'Trying again cannot help; a user must sign in.' },
  [ATTR_ATTEMPT_OUTCOME]: { class: 'list', values: ATTEMPT_OUTCOMES, help: 'How the upstream request ended.' },
  [ATTR_ATTEMPT_INDEX]: { class: 'number', help: 'Place of the attempt within its call, from 0.' },
  [ATTR_ATTEMPTS]: { class: 'number', help: 'Upstream requests made for the call.' },
  [ATTR_LAST_RESORT]: { class: 'boolean', help: 'Every profile that could serve the call was resting; they were tried after all.' },
  [ATTR_SKIP_REASON]: { class: 'list', values: SKIP_REASONS, help: 'Why the profile was passed over.' },
  [ATTR_FALLBACK_FROM]: { class: 'label', help: 'The profile that was given up.' },
  [ATTR_FALLBACK_TO]: { class: 'label', help: 'The profile that was tried next.' },
  [ATTR_FALLBACK_REASON]: { class: 'label', help: 'The outcome or skip reason that led to the fallback.' },
  [ATTR_PROBE_OUTCOME]: {
    class: 'list',
    values: PROBE_OUTCOMES,
    help: 'How the probe ended: as an attempt, a skip or a refused acquisition would.',
  },
  [ATTR_OPERATION_OUTCOME]: {
    class: 'list',
    values: OPERATION_OUTCOMES,
    help: 'How a login, code exchange, device login or revocation ended.',
  },
  [ATTR_LOGIN_METHOD]: { class: 'list', values: LOGIN_METHODS, help: 'How a user signed in.' },
  [ATTR_DEVICE_POLLS]: { class: 'number', help: 'How often the provider was asked whether the code had been entered.' },
  [ATTR_PROTOCOL]: { class: 'list', values: PROTOCOLS, help: 'The wire language of the call.' },
  [ATTR_VIA]: { class: 'list', values: VIAS, help: 'Whether the token request went through the gate.' },
  [ATTR_UNCERTAINTY]: { class: 'list', values: UNCERTAINTIES, help: 'Why it cannot be decided whether it did.' },
  [ATTR_GATE_SEEN]: {
    class: 'boolean',
    help: 'Whether the declared gate had been on any stack of the process before this bypass; false may mean that its name is wrong.',
  },
  [ATTR_SIDE_CHANNEL]: {
    class: 'list',
    values: SIDE_CHANNELS,
    help: 'What reached for a token host other than HTTP clients: a child that is no Node, a raw socket.',
  },
  [ATTR_POLICY]: { class: 'list', values: BYPASS_POLICIES, help: 'What is done about a bypass.' },
  [ATTR_CALLER]: { class: 'label', help: 'File and function of the caller site, without the line: stable over releases.' },
  [ATTR_CALLER_KIND]: { class: 'list', values: CALLER_KINDS, help: 'Application code, a library, or a client of the gateway.' },
  [ATTR_STACK_ID]: { class: 'digest', help: 'Digest of the stack; equal stacks have equal ids.' },
  [ATTR_PROCESS_ROLE]: { class: 'list', values: PROCESS_ROLES, help: 'What the process is to the profiles it uses.' },
  [ATTR_CLIENT_PROCESS]: {
    class: 'label',
    help: 'Command of the process that a client of the token endpoint gate is, where the system reports it; never its arguments.',
  },
  [ATTR_LEASE_WAIT]: { class: 'number', help: 'Seconds from asking for the lease to holding it.' },
  [ATTR_LEASE_TAKEN_FROM]: { class: 'label', help: 'Process id of the dead or silent holder the lease was taken from.' },
  [ATTR_LEASE_HOLDER]: { class: 'label', help: 'Process id of the holder that kept the lease for longer than the refresh waited.' },
  [ATTR_PENDING_PROCESS]: {
    class: 'label',
    help: 'Process id of an earlier refresh that sent this very refresh token and never stored what came back.',
  },
  [ATTR_PENDING_AGE]: { class: 'number', help: 'Seconds since that earlier refresh sent it.' },
  [ATTR_CLOCK_SKEW]: { class: 'number', help: "Seconds the provider's clock (its Date header) is ahead of ours." },
  [ATTR_EXPIRES_IN_REPAIRED]: { class: 'label', help: 'What was wrong with expires_in: missing, zero, string, milliseconds.' },
  [ATTR_REPLAY]: { class: 'boolean', help: 'The refresh token sent had already been rotated away.' },
  [ATTR_ACQUISITIONS]: { class: 'number', help: 'Acquisitions that led or joined the refresh.' },
  [ATTR_REQUEST_ENCODING]: { class: 'label', help: 'How the token request was encoded: form, json, multipart, query, other.' },
  [ATTR_REQUEST_FIELDS]: { class: 'text', help: 'Sorted field names of the token request with the class of each value, never a value.' },
  [ATTR_REQUEST_CLIENT]: { class: 'digest', help: 'Fingerprint of the client id in the token request.' },
  [ATTR_REQUEST_SCOPES]: { class: 'text', help: 'Sorted scopes that the token request asked for.' },
  [ATTR_REQUEST_HEADERS]: { class: 'text', help: 'Sorted names of the headers of the token request, never a value.' },
  [ATTR_REQUEST_USER_AGENT]: { class: 'digest', help: 'Fingerprint of the User-Agent of the token request.' },
  [ATTR_ANSWER_TYPE]: { class: 'label', help: 'Content type of the answer to a token request, or of a refused call.' },
  [ATTR_RETRY_AFTER]: { class: 'number', help: 'Seconds that a refusal asks to wait; absent where it asks for nothing.' },
  [ATTR_ACCOUNT_BEFORE]: {
    class: 'digest',
    help: 'Fingerprint of the account that the profile belongs to, where the answer named another one.',
  },
  [ATTR_ACCOUNT_AFTER]: {
    class: 'digest',
    help: 'Fingerprint of the account that the tokens of the answer belong to, where it is another one.',
  },
  [ATTR_TOKEN_REQUESTS]: {
    class: 'number',
    help: 'Token requests that a refresh function of the application sent in this refresh; 0: it ended without asking anybody.',
  },
  [ATTR_PROVIDER_ERROR_CODE]: { class: 'label', help: "The provider's own error code." },
  [ATTR_PROVIDER_REQUEST_ID]: { class: 'label', help: "The provider's id of the request, for its support." },
  [ATTR_IMPORT_SOURCE]: { class: 'list', values: IMPORT_SOURCES, help: 'The application whose profiles were read.' },
  [ATTR_IMPORT_DRY_RUN]: { class: 'boolean', help: 'Nothing was to be stored; the counts say what would have been done.' },
  [ATTR_IMPORT_COUNTS.imported]: { class: 'number', help: 'Profiles that were stored.' },
  [ATTR_IMPORT_COUNTS.replaced]: { class: 'number', help: 'Profiles that took the place of another credential.' },
  [ATTR_IMPORT_COUNTS.unchanged]: { class: 'number', help: 'Profiles that were stored already.' },
  [ATTR_IMPORT_COUNTS.exists]: { class: 'number', help: 'Profiles left out, since another credential is stored under their name.' },
  [ATTR_IMPORT_COUNTS.needs_owner]: { class: 'number', help: 'Profiles left out, since their rotating refresh token must have one owner.' },
  [ATTR_IMPORT_COUNTS.unusable]: { class: 'number', help: 'Profiles left out, since there is nothing to import of them.' },
  [ATTR_NEXT]: { class: 'label', help: 'What the operator can do next.' },
  [ATTR_SAMPLE_WEIGHT]: {
    class: 'number',
    help: 'Good calls that this one stands for where not every one is recorded, itself included; absent when it is just one.',
  },
  [ATTR_TIME_TO_FIRST_CHUNK]: { class: 'number', help: 'Seconds from sending the request to the first chunk of the body.' },
  [ATTR_CODE_FUNCTION]: { class: 'code', help: 'Function of the caller site.' },
  [ATTR_CODE_FILE]: { class: 'code', help: 'File of the caller site, relative to the application or package.' },
  [ATTR_CODE_LINE]: { class: 'number', help: 'Line of the caller site.' },
  [ATTR_CODE_COLUMN]: { class: 'number', help: 'Column of the caller site.' },
  [ATTR_CODE_STACK]: { class: 'code', help: 'The application and library frames, nearest first.' },
  [ATTR_ERROR_TYPE]: { class: 'label', help: 'The class of failure; absent on success.' },
  [ATTR_HTTP_METHOD]: { class: 'label', help: 'HTTP method.' },
  [ATTR_HTTP_ROUTE]: { class: 'label', help: "The route's pattern." },
  [ATTR_HTTP_STATUS]: { class: 'number', help: 'HTTP status of the answer.' },
  [ATTR_SERVER_ADDRESS]: { class: 'label', help: 'Host the request went to.' },
  [ATTR_URL_PATH]: { class: 'label', help: 'Path of the request, without its query.' },
  [GENAI_OPERATION_NAME]: { class: 'label', help: 'GenAI convention.' },
  [GENAI_PROVIDER_NAME]: { class: 'label', help: 'GenAI convention.' },
  [GENAI_REQUEST_MODEL]: { class: 'label', help: 'GenAI convention.' },
  [GENAI_REQUEST_STREAM]: { class: 'boolean', help: 'GenAI convention.' },
  [GENAI_USAGE_INPUT_TOKENS]: { class: 'number', help: 'GenAI convention.' },
  [GENAI_USAGE_OUTPUT_TOKENS]: { class: 'number', help: 'GenAI convention.' },
}

/** Labels of metrics. Short, since they are typed by hand in PromQL; each has a closed list or a cap with `_other`. */
export const LABEL_PROVIDER = 'provider'
export const LABEL_PROFILE = 'profile'
export const LABEL_MODEL = 'model'
export const LABEL_REASON = 'reason'
export const LABEL_DECISION = 'decision'
export const LABEL_OUTCOME = 'outcome'
export const LABEL_VIA = 'via'
export const LABEL_CALLER = 'caller'
export const LABEL_POLICY = 'policy'
export const LABEL_STATE = 'state'
export const LABEL_FROM = 'from'
export const LABEL_TO = 'to'
export const LABEL_CREDENTIAL_TYPE = 'credential_type'
export const LABEL_OPERATION = 'operation'
const LABEL_APPLICATION = 'application'
export const LABEL_PLACE = 'place'
export const LABEL_LABEL = 'label'

export interface LabelDefinition {
  /** Closed list of values; without it the label is capped. */
  readonly values?: readonly string[]
  /** Distinct values one process may mint before the rest become `_other`. */
  readonly cap?: number
}

/** The value that stands for everything past a cap. */
export const OTHER = '_other'

/** Labels whose values are names of profiles. */
export const PROFILE_LABELS: readonly string[] = [LABEL_PROFILE, LABEL_FROM, LABEL_TO]

/** What an operator may leave out of metrics, with its labels: their values grow with users, models and code. */
export const DROPPABLE_LABELS = {
  profile: PROFILE_LABELS,
  model: [LABEL_MODEL, GENAI_REQUEST_MODEL],
  caller: [LABEL_CALLER],
} as const satisfies Record<string, readonly string[]>

/** What metrics can do without: users, models, code. */
export type DroppableLabel = keyof typeof DROPPABLE_LABELS

const BOUNDED_LABELS: Readonly<Record<string, LabelDefinition>> = {
  [LABEL_PROVIDER]: { cap: 50 },
  [LABEL_PROFILE]: { cap: 1000 },
  [LABEL_MODEL]: { cap: 100 },
  // Acquisitions carry a refresh reason, fallbacks the outcome or skip reason that caused them.
  [LABEL_REASON]: { values: [...new Set<string>([...REFRESH_REASONS, ...TOKEN_REQUEST_OUTCOMES, ...ATTEMPT_OUTCOMES, ...SKIP_REASONS])] },
  [LABEL_DECISION]: { values: DECISIONS },
  [LABEL_OUTCOME]: {
    values: [...new Set<string>([...TOKEN_REQUEST_OUTCOMES, ...ATTEMPT_OUTCOMES, ...OPERATION_OUTCOMES, ...IMPORT_OUTCOMES])],
  },
  [LABEL_VIA]: { values: VIAS },
  [LABEL_CALLER]: { cap: 200 },
  [LABEL_POLICY]: { values: BYPASS_POLICIES },
  [LABEL_STATE]: { values: PROFILE_STATES },
  [LABEL_FROM]: { cap: 1000 },
  [LABEL_TO]: { cap: 1000 },
  [LABEL_CREDENTIAL_TYPE]: { values: CREDENTIAL_TYPES },
  [LABEL_OPERATION]: { values: [...STORE_OPERATIONS, ...OAUTH_OPERATIONS] },
  [LABEL_APPLICATION]: { values: IMPORT_SOURCES },
  [LABEL_PLACE]: { values: DROP_PLACES },
  [ATTR_ERROR_TYPE]: { cap: 100 },
  [ATTR_HTTP_METHOD]: { cap: 10 },
  [ATTR_HTTP_ROUTE]: { cap: 30 },
  [ATTR_HTTP_STATUS]: { cap: 60 },
  [GENAI_OPERATION_NAME]: { values: ['chat', 'list_models'] },
  [GENAI_PROVIDER_NAME]: { cap: 50 },
  [GENAI_REQUEST_MODEL]: { cap: 100 },
  [GENAI_TOKEN_TYPE]: { values: ['input', 'output'] },
}

export const LABELS: Readonly<Record<string, LabelDefinition>> = {
  ...BOUNDED_LABELS,
  [LABEL_LABEL]: { values: Object.keys(BOUNDED_LABELS) },
}

export type MetricKind = 'counter' | 'histogram' | 'gauge'

export interface MetricDefinition {
  readonly name: string
  readonly kind: MetricKind
  /** UCUM unit: `s`, or `{thing}` for counts. Never `1`: OTLP ingestion would add `_ratio` to a gauge's name. */
  readonly unit: string
  readonly help: string
  readonly labels: readonly string[]
  readonly buckets?: readonly number[]
  /** Which value of a gauge stands for several with the same labels: of a group of profiles, of several processes. @default 'max' */
  readonly merge?: 'min' | 'max'
}

const CALL_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
const OPERATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900]
const WAIT_BUCKETS = [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const AGE_BUCKETS = [1, 10, 30, 60, 300, 900, 3600, 4 * 3600, 8 * 3600, 86_400, 3 * 86_400, 10 * 86_400, 30 * 86_400]

/** Every metric. Durations are in seconds; each help text says from when to when it counts. */
export const METRICS = {
  info: {
    name: 'gatewatch.info',
    kind: 'gauge',
    unit: '{process}',
    help: '1 as long as Gatewatch runs in the process, whatever it has seen: by it a process is known under any job.',
    labels: [],
  },
  refreshDuration: {
    name: 'gatewatch.oauth.refresh.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One refresh, from asking for the lease (through the gate) or sending the request (bypass) to its end.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_REASON, LABEL_OUTCOME, LABEL_VIA, LABEL_CALLER, ATTR_ERROR_TYPE],
    buckets: CALL_BUCKETS,
  },
  tokenRequestDuration: {
    name: 'gatewatch.oauth.token_request.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One token request of a watched process for another grant than a refresh, from sending it to its end.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_OUTCOME, LABEL_VIA, LABEL_CALLER, ATTR_ERROR_TYPE],
    buckets: CALL_BUCKETS,
  },
  operationDuration: {
    name: 'gatewatch.oauth.operation.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One login, code exchange, device login or revocation, from its start to its end; a login waits for a person.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_OPERATION, LABEL_OUTCOME, LABEL_CALLER, ATTR_ERROR_TYPE],
    buckets: OPERATION_BUCKETS,
  },
  acquisitions: {
    name: 'gatewatch.gate.acquisitions',
    kind: 'counter',
    unit: '{acquisition}',
    help: 'Acquisitions at the refresh gate, by what the gate decided.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_REASON, LABEL_DECISION, LABEL_CALLER],
  },
  acquisitionWait: {
    name: 'gatewatch.gate.wait.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One acquisition, from entering the gate to leaving it.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_REASON, LABEL_DECISION, LABEL_CALLER],
    buckets: WAIT_BUCKETS,
  },
  bypasses: {
    name: 'gatewatch.gate.bypasses',
    kind: 'counter',
    unit: '{request}',
    help: 'Token requests that did not go through the gate.',
    labels: [LABEL_PROVIDER, LABEL_CALLER, LABEL_POLICY],
  },
  replays: {
    name: 'gatewatch.oauth.replays',
    kind: 'counter',
    unit: '{request}',
    help: 'Token requests with a refresh token that had already been rotated away.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_CALLER],
  },
  tokenAge: {
    name: 'gatewatch.oauth.token.age_at_refresh',
    kind: 'histogram',
    unit: 's',
    help: 'Age of the access token when its refresh was sent; seconds here mean a refresh right after a login.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_REASON],
    buckets: AGE_BUCKETS,
  },
  attemptDuration: {
    name: 'gatewatch.attempt.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One upstream request, from sending it to the last byte of its answer.',
    labels: [LABEL_PROVIDER, LABEL_MODEL, LABEL_PROFILE, LABEL_CREDENTIAL_TYPE, LABEL_OUTCOME, ATTR_ERROR_TYPE, LABEL_CALLER],
    buckets: CALL_BUCKETS,
  },
  timeToFirstChunk: {
    name: 'gatewatch.attempt.time_to_first_chunk',
    kind: 'histogram',
    unit: 's',
    help: 'From sending the upstream request to the first chunk of a good answer.',
    labels: [LABEL_PROVIDER, LABEL_MODEL, LABEL_PROFILE],
    buckets: CALL_BUCKETS,
  },
  fallbacks: {
    name: 'gatewatch.fallbacks',
    kind: 'counter',
    unit: '{fallback}',
    help: 'Calls that went on to another profile, by profiles and by what drove them there.',
    labels: [LABEL_PROVIDER, LABEL_FROM, LABEL_TO, LABEL_REASON],
  },
  billingChanges: {
    name: 'gatewatch.billing.changes',
    kind: 'counter',
    unit: '{call}',
    help: 'Calls that were answered by a profile that pays otherwise than the preferred one: from the preferred one, to the one that answered, and why the preferred one was given up.',
    labels: [LABEL_PROVIDER, LABEL_FROM, LABEL_TO, LABEL_REASON],
  },
  profileState: {
    name: 'gatewatch.profile.state',
    kind: 'gauge',
    unit: '{state}',
    help: '1 for the state the profile is in, 0 for the others.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE, LABEL_STATE],
  },
  profileServes: {
    name: 'gatewatch.profile.serves',
    kind: 'gauge',
    unit: '{profile}',
    help: '1 while a call could use the profile, else 0: it rests, needs a login, is denied by policy or cannot be refreshed for now; absent where the order leaves it out.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
  },
  tokenExpiry: {
    name: 'gatewatch.profile.token.expiry_time',
    kind: 'gauge',
    unit: 's',
    help: 'When the access token, or a token that is never refreshed, expires, seconds since the epoch; absent without an expiry.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
    merge: 'min',
  },
  generation: {
    name: 'gatewatch.profile.generation',
    kind: 'gauge',
    unit: '{rotation}',
    help: 'Rotations the OAuth credential has seen.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
  },
  probeDivergence: {
    name: 'gatewatch.probe.divergence',
    kind: 'gauge',
    unit: '{divergence}',
    help: '1 while the last probe of the profile and its last calls disagree about its credential, else 0; absent without a probe.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
  },
  probeAge: {
    name: 'gatewatch.probe.age',
    kind: 'gauge',
    unit: 's',
    help: 'From the end of the last probe of the profile until now.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
    merge: 'min',
  },
  imports: {
    name: 'gatewatch.oauth.imports',
    kind: 'counter',
    unit: '{profile}',
    help: 'Profiles of other applications that an import took over or left out.',
    labels: [LABEL_APPLICATION, LABEL_PROVIDER, LABEL_OUTCOME],
  },
  leaseWait: {
    name: 'gatewatch.lease.wait.duration',
    kind: 'histogram',
    unit: 's',
    help: 'From asking for the lease of a profile to holding it.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
    buckets: WAIT_BUCKETS,
  },
  leasesLost: {
    name: 'gatewatch.lease.lost',
    kind: 'counter',
    unit: '{lease}',
    help: 'Leases that were taken away while their refresh was under way.',
    labels: [LABEL_PROVIDER, LABEL_PROFILE],
  },
  storeErrors: {
    name: 'gatewatch.store.errors',
    kind: 'counter',
    unit: '{error}',
    help: 'Failed operations of the profile store.',
    labels: [LABEL_OPERATION, ATTR_ERROR_TYPE],
  },
  telemetryDropped: {
    name: 'gatewatch.telemetry.dropped',
    kind: 'counter',
    unit: '{item}',
    help: 'Spans and attributes that could not be delivered or may not leave the process.',
    labels: [LABEL_PLACE],
  },
  labelOverflows: {
    name: 'gatewatch.telemetry.label_overflows',
    kind: 'counter',
    unit: '{value}',
    help: 'Label values past the cap of their label, shown as _other.',
    labels: [LABEL_LABEL],
  },
  serverDuration: {
    name: 'http.server.request.duration',
    kind: 'histogram',
    unit: 's',
    help: 'One inbound request, from its arrival to the last byte of its answer.',
    labels: [ATTR_HTTP_METHOD, ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS, ATTR_ERROR_TYPE],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  },
  genaiDuration: {
    name: GENAI_CLIENT_OPERATION_DURATION,
    kind: 'histogram',
    unit: 's',
    help: 'GenAI convention: one provider call as its caller saw it.',
    labels: [GENAI_OPERATION_NAME, GENAI_PROVIDER_NAME, GENAI_REQUEST_MODEL, ATTR_ERROR_TYPE],
    buckets: GENAI_DURATION_BUCKETS,
  },
  genaiTokens: {
    name: GENAI_CLIENT_TOKEN_USAGE,
    kind: 'histogram',
    unit: '{token}',
    help: 'GenAI convention: tokens used by one provider call.',
    labels: [GENAI_OPERATION_NAME, GENAI_PROVIDER_NAME, GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE],
    buckets: GENAI_TOKEN_BUCKETS,
  },
} as const satisfies Record<string, MetricDefinition>

export type MetricKey = keyof typeof METRICS
/** Label values of one data point. */
export type Labels = Record<string, string | number>
