import type { ProcessRole } from '../domain/enums.ts'

/** What a finding does to the operator, the worst first: findings are reported in this order. */
export const SEVERITIES = ['grant_dead', 'money_spent', 'storm', 'divergence', 'warning'] as const
export type FindingSeverity = (typeof SEVERITIES)[number]

/** Every finding: a rule each, a heading each in the docs. Rules are tried, and equal findings reported, in this order. */
export const FINDING_KINDS = [
  'rotated_token_replayed',
  'family_killed_by_replay',
  'fresh_login_rejected',
  'undefined_token_sent',
  'empty_token_sent',
  'grant_expired',
  'rejected_while_valid',
  'endpoint_rejects_token',
  'same_token_retried',
  'forced_refresh_storm',
  'gate_bypassed',
  'timed_out_after_rotation',
  'answer_lost',
  'crash_before_persist',
  'not_persisted',
  'callback_deadline',
  'lease_contention',
  'clock_skew',
  'bad_expires_in',
  'refresh_token_retained',
  'identity_mismatch',
  'token_endpoint_unavailable',
  'firewall_page',
  'region_refused',
  'silent_paid_fallback',
  'all_profiles_resting',
  'key_refused',
  'probe_disagrees',
  'poller_refreshes',
  'refused_by_user_agent',
  'session_broken_by_rotation',
  'scope_missing',
  'claim_orphaned',
  // General findings: reported only where no narrower one is about the same events.
  'refresh_refused',
  'refresh_failing',
] as const
export type FindingKind = (typeof FINDING_KINDS)[number]

/**
 * The three explanations that the incident left open. `token_rejected`: the endpoint rejects the refresh token itself.
 * `another_caller`: another caller refreshes past the gate. `request_shape`: the request lacks a field, or a field is wrong.
 */
export const HYPOTHESES = ['token_rejected', 'another_caller', 'request_shape'] as const
export type Hypothesis = (typeof HYPOTHESES)[number]

/** What the evidence says about one of the hypotheses. */
export interface HypothesisVerdict {
  readonly hypothesis: Hypothesis
  readonly verdict: 'supported' | 'excluded'
  readonly evidence: string
}

/** How certain a finding is. `certain`: the events show it. `likely`: no other known failure looks like this. `possible`: others do too. */
export const CONFIDENCES = ['certain', 'likely', 'possible'] as const
export type Confidence = (typeof CONFIDENCES)[number]

/** A caller that took part, with how often. */
export interface RankedCaller {
  readonly caller: string
  /** `src/agent.ts:12`, where code called. */
  readonly place?: string
  readonly count: number
  /** Which way the requests went: `gate`, `bypass`, `undeclared`; none for calls. */
  readonly via: readonly string[]
  /** The processes it ran in, where several are recorded. */
  readonly processes: readonly CallerProcess[]
}

interface CallerProcess {
  readonly pid: number
  readonly role: ProcessRole
  readonly title: string
}

/** A word with how often it was seen. */
export interface CountedWord {
  readonly word: string
  readonly count: number
}

/** What a token request looked like. */
export interface RequestShape {
  readonly at: string
  readonly encoding?: string
  /** `name=class` pairs. */
  readonly fields?: string
  readonly client?: string
  readonly scopes?: string
  readonly headers?: string
}

/** The request that failed beside the last one that worked. */
export interface ShapeComparison {
  readonly failing: RequestShape
  readonly lastGood?: RequestShape
  /** What is different, a line each; empty where nothing is. */
  readonly differences: readonly string[]
}

/** A more general finding about the same events, which this one explains. */
export interface ExplainedFinding {
  readonly kind: FindingKind
  readonly title: string
  readonly count: number
}

/** A verdict of `diagnose` with its evidence. Plain JSON; times are ISO 8601. */
export interface Finding {
  readonly kind: FindingKind
  readonly severity: FindingSeverity
  readonly title: string
  /** What was seen, in words. */
  readonly what: string
  readonly seen: { readonly count: number; readonly first: string; readonly last: string }
  readonly providers: readonly string[]
  readonly profiles: readonly string[]
  /** The most frequent first. */
  readonly callers: readonly RankedCaller[]
  readonly reasons: readonly CountedWord[]
  readonly vias: readonly CountedWord[]
  readonly outcomes: readonly CountedWord[]
  readonly shape?: ShapeComparison
  readonly hypotheses: readonly HypothesisVerdict[]
  /** What to do, step by step. */
  readonly remedy: readonly string[]
  readonly confidence: Confidence
  /** What would make it more certain. */
  readonly surerBy?: string
  readonly explains: readonly ExplainedFinding[]
  /** The latest traces that show it. */
  readonly traceIds: readonly string[]
}
