import type { Scenario } from './scenario.ts'

export const replayBySecondProcessScenario: Scenario = {
  number: 2,
  name: 'replay-by-second-process',
  title: 'A second process sends a refresh token that the first one has rotated away',
  why: 'Two programs share a login and read it once, at their start; each refreshes for itself.',
  source: 'openclaw/openclaw#82069 (comments), reproduced',
  symptom: 'The second program gets 401 refresh_token_reused and wants a new login; the first goes on working.',
  finding: 'rotated_token_replayed',
  steps: [
    { do: 'client', name: 'first', role: 'gateway', acts: [{ act: 'call' }, { act: 'refresh' }, { act: 'call' }] },
    { do: 'client', name: 'second', role: 'cli', acts: [{ act: 'call' }, { act: 'refresh' }] },
  ],
}
