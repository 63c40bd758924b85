import type { Scenario } from './scenario.ts'

export const forcedRefreshStormScenario: Scenario = {
  number: 11,
  name: 'forced-refresh-storm',
  title: 'Several callers force the refresh of a token that is good for days',
  why: 'Each caller wants to be sure, and nothing shows it that the token there is good.',
  source: 'openclaw/openclaw#82069 (forceOAuthRefresh), reproduced',
  symptom: 'The token endpoint sees a rotation for every turn, and throttles in the end.',
  finding: 'forced_refresh_storm',
  setting: { logins: [{ ageMs: 3_600_000 }], gateway: { gate: { forced: 'refresh' } } },
  steps: [
    {
      do: 'repeat',
      times: 4,
      steps: [
        { do: 'acquire', by: 'usage_poller', reason: 'forced' },
        { do: 'acquire', by: 'status_bar', reason: 'forced' },
        { do: 'acquire', by: 'agent_turn', reason: 'forced' },
        { do: 'call' },
      ],
    },
  ],
}
