import type { Scenario } from './scenario.ts'

export const familyKilledByReplayScenario: Scenario = {
  number: 3,
  name: 'family-killed-by-replay',
  title: 'A second replay of an old token ends the whole login',
  why: 'A provider takes repeated use of an old token for theft, and refuses everything that came from it (RFC 9700 section 4.14.2).',
  source: 'openclaw/openclaw#82069 (comments), reproduced',
  symptom: 'The newest token is refused as well: 401 refresh_token_invalidated in every program that has the login.',
  finding: 'family_killed_by_replay',
  steps: [
    { do: 'client', name: 'first', role: 'gateway', acts: [{ act: 'call' }, { act: 'refresh' }, { act: 'call' }] },
    { do: 'client', name: 'second', role: 'cli', acts: [{ act: 'refresh', times: 2 }] },
    { do: 'client', name: 'first', role: 'gateway', acts: [{ act: 'refresh' }] },
  ],
}
