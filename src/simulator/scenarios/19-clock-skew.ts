import type { Scenario } from './scenario.ts'

export const clockSkewScenario: Scenario = {
  number: 19,
  name: 'clock-skew',
  title: 'The clock of one machine is twenty minutes behind, that of another one ahead',
  why: 'No time service in a virtual machine, or a laptop that slept.',
  source: 'anthropics/claude-code#54443, #90688',
  symptom: 'Behind: 401 token_expired with time left to the expiry. Ahead: a refresh more than is needed.',
  finding: 'clock_skew',
  setting: {
    logins: [
      { firstAccessLifeMs: 100, accessLifeMs: 600_000 },
      { profile: 'openai-codex:team', account: 'acc-team', accessLifeMs: 600_000 },
    ],
  },
  steps: [
    { do: 'gateway', clockAheadMs: 1_200_000, steps: [{ do: 'call', profile: 'openai-codex:team', times: 2 }], beside: true },
    { do: 'wait', ms: 100 },
    { do: 'gateway', clockAheadMs: -1_200_000, steps: [{ do: 'call', profile: 'openai-codex:work', times: 2 }] },
  ],
}
