import type { Scenario } from './scenario.ts'

export const pollerRefreshesScenario: Scenario = {
  number: 29,
  name: 'poller-refreshes',
  title: 'A timer that asks how much of the quota is used rotates the token each time',
  why: 'It wants a fresh token for a question that the token there is good for.',
  source: 'openclaw/openclaw (infra/provider-usage.auth.ts), reproduced',
  symptom: 'Tokens are rotated all night although no caller uses a model.',
  finding: 'poller_refreshes',
  setting: { logins: [{ ageMs: 3_600_000 }], gateway: { gate: { forced: 'refresh' } } },
  steps: [
    { do: 'call' },
    {
      do: 'repeat',
      times: 6,
      steps: [
        { do: 'acquire', by: 'usage_poller', reason: 'forced' },
        { do: 'call', by: 'usage_poller', protocol: 'models' },
      ],
    },
    { do: 'call' },
  ],
}
