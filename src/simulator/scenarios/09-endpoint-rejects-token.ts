import type { Scenario } from './scenario.ts'

export const endpointRejectsTokenScenario: Scenario = {
  number: 9,
  name: 'endpoint-rejects-token',
  title: 'Listing models ends in 401 while the model answers with the same token',
  why: 'A path of the provider wants something else in addition to the token, or is broken for this account.',
  source: 'openclaw/openclaw#82069 (comments)',
  symptom: 'The list of models is empty or 401, and calls work; a client that believes the 401 refreshes for nothing.',
  finding: 'endpoint_rejects_token',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: '/backend-api/codex/models', name: 'token_expired_401' } },
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }, { act: 'models', times: 3 }, { act: 'call', times: 2 }] },
    { do: 'call', by: 'status_bar', protocol: 'models' },
  ],
}
