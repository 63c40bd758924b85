import type { Scenario } from './scenario.ts'

export const emptyRefreshTokenScenario: Scenario = {
  number: 6,
  name: 'empty-refresh-token',
  title: 'An empty text is posted as the refresh token',
  why: 'A login was stored without its refresh token, and the empty field is posted as it is.',
  source: 'openai/codex issues, reproduced against the real endpoint',
  symptom: '400 from the token endpoint that speaks of an empty string.',
  finding: 'empty_token_sent',
  steps: [
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }, { act: 'refresh' }] },
    { do: 'client', name: 'agent', role: 'gateway', token: 'empty', acts: [{ act: 'call' }, { act: 'refresh', times: 2 }] },
  ],
}
