import type { Scenario } from './scenario.ts'

export const silentPaidFallbackScenario: Scenario = {
  number: 26,
  name: 'silent-paid-fallback',
  title: 'The refresh of a subscription fails, and calls go on at the cost of an API key',
  why: 'The next profile is a key that is paid by use, and nothing reports it.',
  source: 'openclaw/openclaw#82069, #82777',
  symptom: 'Everything works; the bill of the API key grows.',
  finding: 'silent_paid_fallback',
  setting: { logins: [{ firstAccessLifeMs: -60_000, ageMs: 3_600_000 }], paidKey: true },
  steps: [
    { do: 'fault', fault: { where: 'token', name: 'refresh_token_invalidated' } },
    { do: 'call', times: 3 },
    { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
  ],
}
