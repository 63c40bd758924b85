import type { Scenario } from './scenario.ts'

export const undefinedRefreshTokenScenario: Scenario = {
  number: 5,
  name: 'undefined-refresh-token',
  title: 'The word "undefined" is posted as the refresh token',
  why: 'A caller reads a credential without a refresh token and puts the missing value into the form.',
  source: 'openclaw/openclaw#82069, reproduced',
  symptom: 'Every turn ends in 401 token_expired from the token endpoint, while the login is healthy elsewhere.',
  finding: 'undefined_token_sent',
  steps: [
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }, { act: 'refresh' }, { act: 'call' }] },
    { do: 'client', name: 'agent', role: 'gateway', token: 'undefined', acts: [{ act: 'call' }, { act: 'refresh', times: 3 }] },
  ],
}
