/**
 * The closed lists of Gatewatch. Each word is a label value, a legend entry and a runbook heading at once, so a list
 * may grow with a scenario but a word never changes its meaning.
 */

/** Why an acquisition wants a fresh token. */
export const REFRESH_REASONS = ['missing', 'expired', 'expiring', 'rejected', 'forced', 'scheduled', 'operator', 'unknown'] as const
export type RefreshReason = (typeof REFRESH_REASONS)[number]

/** What the gate did with an acquisition; `bypass` stands for the acquisition that never came. */
export const DECISIONS = ['reuse', 'lead', 'join', 'adopt', 'refuse', 'bypass'] as const
export type Decision = (typeof DECISIONS)[number]

/** Outcomes of a token request with which its caller has what was asked for, or may ask again. */
const GOOD_TOKEN_OUTCOMES = ['rotated', 'renewed', 'granted', 'reused', 'pending'] as const

/** Outcomes that count against the objective of refreshes. */
export const FAILED_TOKEN_OUTCOMES = [
  'invalidated',
  'grant_expired',
  'interaction_required',
  // The client or the request is at fault.
  'refused',
  'malformed',
  'forbidden',
  'redirected',
  // A good status, and no tokens that can be read.
  'unreadable',
  'unavailable',
  'timeout',
  'throttled',
  'lost',
  'not_persisted',
  'identity_mismatch',
] as const

/** Outcomes that say nothing about how well refreshes work: nothing was sent, or the answer is not what failed. */
export const NEUTRAL_TOKEN_OUTCOMES = [
  'contention',
  'blocked',
  // The caller left before a request was sent.
  'cancelled',
  // Nothing was sent: another refresh had found out that the grant is dead.
  'needs_login',
  // The error of a wrapped refresh function itself.
  'application_error',
] as const

/** How a token request ended, by any grant and on any way. Which of them are permanent is in `src/domain/token-request-outcome.ts`. */
export const TOKEN_REQUEST_OUTCOMES = [...GOOD_TOKEN_OUTCOMES, ...FAILED_TOKEN_OUTCOMES, ...NEUTRAL_TOKEN_OUTCOMES] as const
export type TokenRequestOutcome = (typeof TOKEN_REQUEST_OUTCOMES)[number]

/** How one upstream request of a call ended. */
export const ATTEMPT_OUTCOMES = [
  'ok',
  'auth',
  'auth_permanent',
  'billing',
  'rate_limit',
  'overloaded',
  'timeout',
  'server_error',
  'format',
  'model_not_found',
  'aborted',
] as const
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number]

/** Why a profile was passed over without an attempt. */
export const SKIP_REASONS = [
  'cooldown',
  'needs_login',
  'missing_credential',
  'expired',
  'mode_mismatch',
  'excluded_by_order',
  'billing_denied',
  'refresh_paused',
] as const
export type SkipReason = (typeof SKIP_REASONS)[number]

/** How a probe ended: as an attempt, as a profile that is passed over, or as an acquisition that the gate refused. */
export type ProbeOutcome = AttemptOutcome | SkipReason | TokenRequestOutcome
export const PROBE_OUTCOMES: readonly ProbeOutcome[] = [
  ...new Set<ProbeOutcome>([...ATTEMPT_OUTCOMES, ...SKIP_REASONS, ...TOKEN_REQUEST_OUTCOMES]),
]

/** What a process is to the profiles it uses. */
export const PROCESS_ROLES = ['gateway', 'cli', 'probe', 'child', 'unknown'] as const
export type ProcessRole = (typeof PROCESS_ROLES)[number]

/**
 * Which way a token request took. `undeclared`: no gate is declared for it, as for any grant but a refresh. `uncertain`: a gate is
 * declared, and it cannot be decided whether the request came through it; such a request is never refused.
 */
export const VIAS = ['gate', 'bypass', 'uncertain', 'undeclared'] as const
export type Via = (typeof VIAS)[number]

/**
 * Why the way of a token request is uncertain. `stack_cut`: its stack does not go back to the evaluation of a module, an inbound
 * request, or a timer or event of the application. `frame_limit`: the stack has more frames than are taken.
 * `preset_unmatched`: the functions that the preset names were not found in the code of the version that runs.
 * `grant_unknown`: the body could not be read, or does not show that it asks for a refresh.
 */
export const UNCERTAINTIES = ['stack_cut', 'frame_limit', 'preset_unmatched', 'grant_unknown'] as const
export type Uncertainty = (typeof UNCERTAINTIES)[number]

/** How something may reach a token host that is no HTTP client of the watched process. */
export const SIDE_CHANNELS = ['child', 'socket'] as const
export type SideChannel = (typeof SIDE_CHANNELS)[number]

/** What Gatewatch does about a bypass. */
export const BYPASS_POLICIES = ['observe', 'coalesce', 'enforce'] as const
export type BypassPolicy = (typeof BYPASS_POLICIES)[number]

/** How a profile authenticates. */
export const CREDENTIAL_TYPES = ['oauth', 'token', 'api_key'] as const
export type CredentialType = (typeof CREDENTIAL_TYPES)[number]

/** How a profile pays. */
export const BILLINGS = ['subscription', 'metered'] as const
export type Billing = (typeof BILLINGS)[number]

/** What a profile can do right now. */
export const PROFILE_STATES = [
  'ready',
  'expiring',
  'expired',
  'resting',
  'needs_login',
  'not_persisted',
  'missing_credential',
  'damaged',
] as const
export type ProfileState = (typeof PROFILE_STATES)[number]

/** What the last frame of a caller site is: code of the application, a library, or a client of the gateway. */
export const CALLER_KINDS = ['code', 'library', 'client', 'unknown'] as const
export type CallerKind = (typeof CALLER_KINDS)[number]

/** Where telemetry was lost before it could be delivered. */
export const DROP_PLACES = ['span_queue', 'export', 'attribute', 'event_store'] as const
export type DropPlace = (typeof DROP_PLACES)[number]

/** What a profile store was asked for when it failed. */
export const STORE_OPERATIONS = ['read', 'write', 'lease'] as const
export type StoreOperation = (typeof STORE_OPERATIONS)[number]

/** OAuth operations in addition to the refresh; each has a span of its own. */
export const OAUTH_OPERATIONS = ['login', 'exchange', 'device', 'revoke'] as const
export type OAuthOperation = (typeof OAUTH_OPERATIONS)[number]

/** How a user signs in: in the browser of this machine, by pasting where the browser ended, with a code on another device. */
export const LOGIN_METHODS = ['browser', 'paste', 'device'] as const
export type LoginMethod = (typeof LOGIN_METHODS)[number]

/**
 * How an OAuth operation in addition to the refresh ended: `denied` by the person or the provider, `expired` before the person was
 * done, `cancelled` by us, `refused` as a request, `unverified` where state, nonce or issuer did not hold.
 */
export const OPERATION_OUTCOMES = [
  'ok',
  'denied',
  'expired',
  'cancelled',
  'refused',
  'unverified',
  'unavailable',
  'timeout',
  'identity_mismatch',
  'not_persisted',
  'failed',
] as const
export type OperationOutcome = (typeof OPERATION_OUTCOMES)[number]

/** Applications whose logins can be imported. */
export const IMPORT_SOURCES = ['openclaw', 'codex', 'claude', 'gemini'] as const
export type ImportSource = (typeof IMPORT_SOURCES)[number]

/**
 * What an import did with a profile: `exists` where another credential lies here already, `needs_owner` where it holds a
 * rotating refresh token whose takeover was not requested.
 */
export const IMPORT_OUTCOMES = ['imported', 'replaced', 'unchanged', 'exists', 'needs_owner', 'unusable'] as const
export type ImportOutcome = (typeof IMPORT_OUTCOMES)[number]

/** The wire languages a provider call can speak; `models` lists what a provider offers. */
export const PROTOCOLS = ['responses', 'chat_completions', 'messages', 'models'] as const
export type Protocol = (typeof PROTOCOLS)[number]
