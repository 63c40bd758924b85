/**
 * What Gatewatch observes, as plain objects: each thing that happened is one event, by whichever way it was seen. Spans and
 * metrics are written from events, the event store holds them, and every page, command and finding reads them.
 *
 * Events hold no secret: tokens and accounts as fingerprints, requests by their shape, profiles by the name that telemetry may
 * show. Times are epoch milliseconds, durations milliseconds where a name ends in `Ms` and seconds where it ends in `S`.
 */

import type {
  AttemptOutcome,
  Billing,
  BypassPolicy,
  CallerKind,
  CredentialType,
  Decision,
  ImportOutcome,
  ImportSource,
  LoginMethod,
  OAuthOperation,
  OperationOutcome,
  ProbeOutcome,
  ProcessRole,
  Protocol,
  RefreshReason,
  SideChannel,
  SkipReason,
  TokenRequestOutcome,
  Uncertainty,
  Via,
} from './enums.ts'

/** A field of which nothing is known is absent or `undefined`. */
type Known<T> = T | undefined

/** A span, as links and parents name it. */
export interface SpanReference {
  readonly traceId: string
  readonly spanId: string
}

/** Who asked: a caller site as events carry it. */
export interface EventCaller {
  /** `file#function` without the line, or the name of a client: fit for a metric label. */
  readonly label: string
  readonly kind: CallerKind
  /** Digest of the frames; equal stacks have equal ids. */
  readonly stackId?: Known<string>
  readonly function?: Known<string>
  readonly file?: Known<string>
  readonly line?: Known<number>
  readonly column?: Known<number>
  /** One frame a line, nearest first. */
  readonly stack?: Known<string>
}

/** The process that recorded an event. */
export interface EventProcess {
  readonly pid: number
  readonly role: ProcessRole
  /** When it started. */
  readonly startedMs?: Known<number>
  /** The script it runs, without its folder; never the command line. */
  readonly title: string
  /** Distinguishes equal pids: digest of host, boot and process namespace. */
  readonly host: string
}

/** What every event has. */
export interface EventBase {
  readonly startMs: number
  readonly durationMs: number
  /** Identity of the span that is written from the event; empty where none is. */
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: Known<string>
  /** Spans it belongs with: a refresh and the acquisitions that led or joined it. */
  readonly links: readonly SpanReference[]
  readonly caller: EventCaller
  readonly provider?: Known<string>
  /** The profile's name as telemetry may show it. */
  readonly profile?: Known<string>
  /** It failed. What its caller gave up has not. */
  readonly isError: boolean
  /** The class of failure, `error.type`. */
  readonly errorType?: Known<string>
  /** What happened within it, in order. */
  readonly steps: readonly EventStep[]
  /** Events like it that it stands for where not every one is recorded, itself included. */
  readonly standsFor: number
  /** Set by the store that holds events of several processes. */
  readonly process?: Known<EventProcess>
}

/** What an HTTP request went to. */
interface RequestTarget {
  readonly serverAddress?: Known<string>
  readonly urlPath?: Known<string>
  readonly httpMethod?: Known<string>
  /** Route of the inbound request on whose behalf it was sent. */
  readonly httpRoute?: Known<string>
}

/** What an HTTP answer says, whatever it is about. */
interface AnswerFacts {
  readonly httpStatus?: Known<number>
  readonly providerErrorCode?: Known<string>
  readonly providerRequestId?: Known<string>
  /** Content type of the answer to a token request, or of a refused call. */
  readonly answerType?: Known<string>
}

/** A token request by its shape. */
interface RequestShape {
  /** `form`, `json`, `multipart`, `query`, `other`. */
  readonly requestEncoding?: Known<string>
  /** Sorted field names with the class of each value. */
  readonly requestFields?: Known<string>
  readonly requestClientFingerprint?: Known<string>
  readonly requestScopes?: Known<string>
  /** Sorted header names. */
  readonly requestHeaders?: Known<string>
  readonly requestUserAgentFingerprint?: Known<string>
  /** The reason that the client itself put into its request. */
  readonly reasonDeclared?: Known<string>
}

/** An HTTP request to a token endpoint, through the gate or past it; by any grant. */
export interface TokenRequestEvent extends EventBase, RequestTarget, AnswerFacts, RequestShape {
  readonly kind: 'token_request'
  /** What it asks for; `unknown` where its body could not be read. */
  readonly grant: 'refresh' | 'other' | 'unknown'
  readonly reason: RefreshReason
  readonly via: Via
  /** Why `via` is `uncertain`. */
  readonly uncertainty?: Known<Uncertainty>
  /** Of a bypass: what is done about it. */
  readonly policy?: Known<BypassPolicy>
  /** Of a bypass: whether the declared gate had been on a stack of the process before. */
  readonly gateSeen?: Known<boolean>
  readonly outcome?: Known<TokenRequestOutcome>
  /** The refresh token sent had been rotated away before. */
  readonly replay?: Known<boolean>
  /** The answer held no refresh token: the one that was sent stays. */
  readonly refreshTokenRetained?: Known<boolean>
  /** Fingerprint of the refresh token that was sent, and of the one that came back. */
  readonly refreshFingerprintBefore?: Known<string>
  readonly refreshFingerprintAfter?: Known<string>
  /** Fingerprint of the access token that came back. */
  readonly credentialFingerprint?: Known<string>
  /** Rotations the credential had seen. */
  readonly generation?: Known<number>
  /** Until the access token in use expires; negative when it has. */
  readonly credentialExpiresInS?: Known<number>
  readonly hasAccess?: Known<boolean>
  readonly hasRefresh?: Known<boolean>
  /** Fingerprint of the access token that the provider had rejected. */
  readonly rejectedFingerprint?: Known<string>
  /** Since the issue of the access token in use. */
  readonly tokenAgeS?: Known<number>
  /** What was wrong with `expires_in`. */
  readonly expiresInRepaired?: Known<string>
  /** Seconds that a refusal asks to wait. */
  readonly retryAfterS?: Known<number>
  /** The provider's clock ahead of ours. */
  readonly clockSkewS?: Known<number>
  /** Digests of the accounts, where the answer names another one. */
  readonly accountBefore?: Known<string>
  readonly accountAfter?: Known<string>
  /** Of a refresh of the gate: acquisitions that led or joined it. */
  readonly acquisitions?: Known<number>
  /** Of a wrapped refresh function: token requests that it sent. */
  readonly tokenRequests?: Known<number>
  /** Process id of the holder that kept the lease for too long. */
  readonly leaseHolder?: Known<string>
  /** What the operator can do next. */
  readonly next?: Known<string>
}

/** A caller at the gate, from entering to leaving; or a caller whose request was answered with another caller's answer. */
export interface AcquireEvent extends EventBase, RequestTarget, AnswerFacts, RequestShape {
  readonly kind: 'acquire'
  readonly reason: RefreshReason
  readonly decision?: Known<Decision>
  readonly outcome?: Known<TokenRequestOutcome>
  /** Of a request that was deduplicated in a watched process; absent at the gate itself. */
  readonly via?: Known<Via>
  readonly uncertainty?: Known<Uncertainty>
  readonly policy?: Known<BypassPolicy>
  readonly rejectedFingerprint?: Known<string>
  readonly refreshFingerprintBefore?: Known<string>
  readonly refreshFingerprintAfter?: Known<string>
  readonly generation?: Known<number>
  readonly replay?: Known<boolean>
  readonly next?: Known<string>
}

/** A provider call as its caller sees it, over all attempts. */
export interface CallEvent extends EventBase {
  readonly kind: 'call'
  readonly protocol?: Known<Protocol>
  /** Of a call of the application, whose protocol is not known. */
  readonly genaiOperation?: Known<string>
  readonly genaiProvider?: Known<string>
  readonly model?: Known<string>
  readonly stream?: Known<boolean>
  readonly attempts?: Known<number>
  readonly preferredProfile?: Known<string>
  readonly billing?: Known<Billing>
  readonly billingChanged?: Known<boolean>
  /** Every profile was resting; they were tried after all. */
  readonly lastResort?: Known<boolean>
  /** Only `aborted` is said of a call; how it went otherwise is said of its attempts. */
  readonly outcome?: Known<AttemptOutcome>
  readonly next?: Known<string>
}

/** One request to a provider's API. */
export interface AttemptEvent extends EventBase, RequestTarget, AnswerFacts {
  readonly kind: 'attempt'
  readonly outcome: AttemptOutcome
  readonly protocol?: Known<Protocol>
  readonly genaiOperation?: Known<string>
  readonly genaiProvider?: Known<string>
  readonly model?: Known<string>
  readonly stream?: Known<boolean>
  /** Place within its call, from 0. */
  readonly attemptIndex?: Known<number>
  readonly billing?: Known<Billing>
  /** Of a wrapped call within which the application fell back to a profile that is paid for otherwise. */
  readonly billingChanged?: Known<boolean>
  readonly credentialType?: Known<CredentialType>
  readonly credentialFingerprint?: Known<string>
  readonly credentialExpiresInS?: Known<number>
  /** A call that carried no credential says so. */
  readonly hasAccess?: Known<boolean>
  readonly timeToFirstChunkS?: Known<number>
  readonly inputTokens?: Known<number>
  readonly outputTokens?: Known<number>
}

/** An OAuth operation other than a refresh. */
export interface LoginEvent extends EventBase, AnswerFacts, RequestShape {
  readonly kind: 'login'
  readonly operation: OAuthOperation
  readonly outcome?: Known<OperationOutcome>
  readonly loginMethod?: Known<LoginMethod>
  readonly devicePolls?: Known<number>
  /** Fingerprint of the refresh token that was revoked, or that came of a code. */
  readonly refreshFingerprintBefore?: Known<string>
  readonly refreshFingerprintAfter?: Known<string>
  readonly hasRefresh?: Known<boolean>
  readonly credentialExpiresInS?: Known<number>
  readonly expiresInRepaired?: Known<string>
  readonly next?: Known<string>
}

type ImportCounts = Readonly<Partial<Record<ImportOutcome, number>>>

/** Profiles of another application were imported. */
export interface ImportEvent extends EventBase {
  readonly kind: 'import'
  readonly importSource?: Known<ImportSource>
  readonly dryRun?: Known<boolean>
  /** Profiles by what was done with them. */
  readonly importCounts?: Known<ImportCounts>
  readonly importCountsByProvider?: Known<Readonly<Record<string, ImportCounts>>>
}

/** A profile was asked whether its credential works. */
export interface ProbeEvent extends EventBase {
  readonly kind: 'probe'
  readonly outcome?: Known<ProbeOutcome>
}

/** Something other than an HTTP client of the watched process reached for a token host. */
interface SideChannelEvent extends EventBase {
  readonly kind: 'side_channel'
  readonly channel?: Known<SideChannel>
  readonly serverAddress?: Known<string>
}

/** A request that came in over HTTP, on whose behalf everything under it was done. */
export interface InboundEvent extends EventBase, RequestTarget, AnswerFacts, RequestShape {
  readonly kind: 'inbound'
  /** Of a client of the token endpoint gate: the command of its process, and whether it sent a token rotated away before. */
  readonly clientProcess?: Known<string>
  readonly replay?: Known<boolean>
}

/**
 * Settings, policy and version as a process began to use them; what changed shows between the starts of two processes. Stored
 * only, before the first other event of the process: no span is written from it.
 */
export interface ConfigEvent extends EventBase {
  readonly kind: 'config'
  readonly version?: Known<string>
  readonly policy?: Known<BypassPolicy>
  /** Digest of the settings, to see whether two processes use the same; never a value of them. */
  readonly settingsDigest?: Known<string>
}

/** Anything that is observed. */
export type GatewatchEvent =
  | TokenRequestEvent
  | AcquireEvent
  | CallEvent
  | AttemptEvent
  | LoginEvent
  | ImportEvent
  | ProbeEvent
  | SideChannelEvent
  | InboundEvent
  | ConfigEvent

export type EventKind = GatewatchEvent['kind']

/** What an event says, without its place in a trace and what happened within it. */
export type EventFacts<E extends GatewatchEvent = GatewatchEvent> = E extends GatewatchEvent
  ? Omit<E, 'startMs' | 'traceId' | 'spanId' | 'parentSpanId' | 'links' | 'steps' | 'process'>
  : never

/** Every kind. */
export const EVENT_KINDS = [
  'token_request',
  'acquire',
  'call',
  'attempt',
  'login',
  'import',
  'probe',
  'side_channel',
  'inbound',
  'config',
] as const satisfies readonly EventKind[]

/** Each name a step can have; the last one seen of a refresh is where it stopped. */
const STEP_NAMES = [
  'lease_requested',
  'lease_held',
  'lease_lost',
  'credential_reloaded',
  'sender_awaited',
  'held_back',
  'request_sent',
  'waiting_ended',
  'answer_received',
  'persisted',
  'published',
  'bypass',
  'replay',
  'joined',
  'skipped',
  'fallback',
  'billing_changed',
  'first_chunk',
] as const
export type StepName = (typeof STEP_NAMES)[number]

/** Something that happened within an event. Which fields a step has hangs on its name. */
export interface EventStep {
  readonly name: StepName
  readonly atMs: number
  /** Of `joined`: who waited too. */
  readonly caller?: Known<EventCaller>
  /** Of `skipped`: the profile that was passed over, and why. */
  readonly profile?: Known<string>
  readonly skipReason?: Known<SkipReason>
  /** Of `fallback` and `billing_changed`: provider of the profile that was given up, or preferred. */
  readonly provider?: Known<string>
  readonly fallbackFrom?: Known<string>
  readonly fallbackTo?: Known<string>
  readonly fallbackReason?: Known<string>
  /** Of `lease_held`: how long it was waited for, and from which dead holder it was taken. */
  readonly leaseWaitS?: Known<number>
  readonly leaseTakenFrom?: Known<string>
  /** Of `credential_reloaded`: what the store held. */
  readonly generation?: Known<number>
  readonly hasAccess?: Known<boolean>
  readonly hasRefresh?: Known<boolean>
  readonly credentialExpiresInS?: Known<number>
  /** Of `credential_reloaded` and `sender_awaited`: an earlier refresh that never stored what came back. */
  readonly pendingProcess?: Known<string>
  readonly pendingAgeS?: Known<number>
  /** Of `answer_received`. */
  readonly httpStatus?: Known<number>
}
