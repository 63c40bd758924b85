import { diagnose } from '../../src/diagnose/diagnose.ts'
import { Evidence } from '../../src/diagnose/evidence.ts'
import type { Finding } from '../../src/diagnose/finding.ts'
import type { AttemptOutcome, TokenRequestOutcome } from '../../src/domain/enums.ts'
import type {
  AttemptEvent,
  CallEvent,
  EventCaller,
  EventKind,
  EventProcess,
  EventStep,
  GatewatchEvent,
  StepName,
  TokenRequestEvent,
} from '../../src/domain/events.ts'
import { isSuccess } from '../../src/domain/token-request-outcome.ts'

export const START_MS = Date.UTC(2026, 9, 1, 12)
export const WORK = 'openai-codex:work'
export const PAID = 'openai:default'

/** Two processes of one host. */
export const GATEWAY: EventProcess = { pid: 100, role: 'gateway', title: 'gateway.js', host: 'aaaaaaaaaaaa' }
export const CLI: EventProcess = { pid: 200, role: 'cli', title: 'cli.js', host: 'aaaaaaaaaaaa' }

export const AGENT: EventCaller = { label: 'src/agent.ts#answer', kind: 'code', file: 'src/agent.ts', line: 12 }
export const RESPONSES = '/backend-api/codex/responses'
export const MODELS = '/backend-api/codex/models'

let made = 0

/** An event of any kind; `at` is in seconds after the start. */
export function event<K extends EventKind>(kind: K, at: number, fields: Partial<Extract<GatewatchEvent, { kind: K }>> = {}) {
  made += 1
  const id = made.toString(16).padStart(16, '0')
  return {
    ...{ traceId: id.repeat(2), spanId: id, startMs: START_MS + at * 1000, durationMs: 100, links: [], steps: [] },
    ...{ caller: { label: 'unknown', kind: 'unknown' }, isError: false, standsFor: 1 },
    ...fields,
    kind,
  } as unknown as Extract<GatewatchEvent, { kind: K }>
}

export interface RefreshFields extends Partial<TokenRequestEvent> {
  /** Short for `refreshFingerprintBefore` and `refreshFingerprintAfter`. */
  readonly sent?: string
  readonly received?: string
}

/** A refresh; its outcome decides whether it failed. */
export function refresh(at: number, { sent, received, outcome = 'rotated', ...fields }: RefreshFields = {}): TokenRequestEvent {
  return event('token_request', at, {
    ...{ provider: 'openai-codex', profile: WORK, grant: 'refresh', reason: 'expiring', via: 'gate' },
    caller: AGENT,
    isError: !isSuccess(outcome),
    outcome,
    ...(sent !== undefined && { refreshFingerprintBefore: sent }),
    ...(received !== undefined && { refreshFingerprintAfter: received }),
    ...fields,
  })
}

/** A refresh that failed. */
export function failed(at: number, outcome: TokenRequestOutcome, fields: RefreshFields = {}): TokenRequestEvent {
  return refresh(at, { outcome, ...fields })
}

/** A single request to a provider. */
export function attempt(at: number, outcome: AttemptOutcome, fields: Partial<AttemptEvent> = {}): AttemptEvent {
  return event('attempt', at, {
    ...{ provider: 'openai-codex', profile: WORK, genaiOperation: 'chat', model: 'gpt-5.5' },
    ...{ outcome, isError: outcome !== 'ok' },
    ...fields,
  })
}

/** A request to a path with an access token that says it is good for ten days. */
export function called(
  at: number,
  urlPath: string,
  httpStatus = 200,
  token = 'aaaaaaaaaaaa',
  credentialExpiresInS = 864_000,
): AttemptEvent {
  return attempt(at, httpStatus === 200 ? 'ok' : 'auth', { httpStatus, urlPath, credentialFingerprint: token, credentialExpiresInS })
}

/** A refresh that sends the token `t1`, which was used before. */
export function spent(at: number, fields: RefreshFields = {}): TokenRequestEvent {
  const { outcome = 'invalidated', ...more } = fields
  return failed(at, outcome, { sent: 't1', process: GATEWAY, httpStatus: 401, providerErrorCode: 'refresh_token_reused', ...more })
}

export function call(at: number, fields: Partial<CallEvent> = {}): CallEvent {
  return event('call', at, fields)
}

export function step(name: StepName, fields: Partial<EventStep> = {}): EventStep {
  return { name, atMs: START_MS, ...fields }
}

export function evidence(...events: readonly GatewatchEvent[]): Evidence {
  return new Evidence(events)
}

export function findings(...events: readonly GatewatchEvent[]): readonly Finding[] {
  return diagnose(evidence(...events)).findings
}

export function kinds(...events: readonly GatewatchEvent[]): string[] {
  return findings(...events).map(({ kind }) => kind)
}

export function verdicts(finding: Finding | undefined): Record<string, string> {
  return Object.fromEntries((finding?.hypotheses ?? []).map(({ hypothesis, verdict }) => [hypothesis, verdict]))
}
