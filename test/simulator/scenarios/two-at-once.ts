import type { FindingKind } from '../../../src/diagnose/finding.ts'
import type { Scenario } from '../../../src/simulator/scenarios/scenario.ts'

/** Failures of two scenarios in one recorder, with the findings that must be reported, in this order. */
export interface TwoAtOnce extends Pick<Scenario, 'setting' | 'steps'> {
  readonly what: string
  readonly findings: readonly FindingKind[]
}

/** A plugin ends the login of one account while the callers of another one force refreshes. */
export const BYPASS_BESIDE_STORM: TwoAtOnce = {
  what: 'a bypass that ends a login, beside a storm of forced refreshes of another account',
  findings: ['gate_bypassed', 'forced_refresh_storm'],
  setting: {
    logins: [
      { firstAccessLifeMs: 60_000, ageMs: 3_600_000 },
      { profile: 'openai-codex:team', account: 'acc-team', ageMs: 3_600_000 },
    ],
    gateway: { gate: { forced: 'refresh' } },
  },
  steps: [
    { do: 'post_token', token: 'current' },
    {
      do: 'repeat',
      times: 3,
      steps: [
        { do: 'acquire', by: 'usage_poller', reason: 'forced', profile: 'openai-codex:team' },
        { do: 'call', profile: 'openai-codex:work' },
        { do: 'acquire', by: 'status_bar', reason: 'forced', profile: 'openai-codex:team' },
      ],
    },
  ],
}

/** A subscription fails and a paid key takes over in silence, while the callers of another account force refreshes. */
export const PAID_FALLBACK_BESIDE_STORM: TwoAtOnce = {
  what: 'a silent fallback to a paid key, beside a storm of forced refreshes of another account',
  findings: ['silent_paid_fallback', 'forced_refresh_storm'],
  setting: {
    logins: [
      { firstAccessLifeMs: -60_000, ageMs: 3_600_000 },
      { profile: 'openai-codex:team', account: 'acc-team', ageMs: 3_600_000 },
    ],
    paidKey: true,
    gateway: { gate: { forced: 'refresh' }, order: ['openai-codex:work', 'openai:default'] },
  },
  steps: [
    { do: 'fault', fault: { where: 'token', account: 'acc-work', name: 'refresh_token_invalidated' } },
    {
      do: 'repeat',
      times: 3,
      steps: [
        { do: 'acquire', by: 'session_restore', reason: 'forced', profile: 'openai-codex:team' },
        { do: 'call' },
        { do: 'acquire', by: 'status_bar', reason: 'forced', profile: 'openai-codex:team' },
      ],
    },
  ],
}

export const ALL_TWO_AT_ONCE: readonly TwoAtOnce[] = [BYPASS_BESIDE_STORM, PAID_FALLBACK_BESIDE_STORM]
