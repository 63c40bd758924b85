import type { Scenario } from './scenario.ts'

export const gateBypassScenario: Scenario = {
  number: 12,
  name: 'gate-bypass',
  title: 'A plugin refreshes past the gate and keeps what it gets to itself',
  why: 'It was written without knowledge of the gate, with a copy of the refresh token.',
  source: 'openclaw/openclaw#82069 (second hypothesis), reproduced',
  symptom: 'The gateway is refused with "already used" although all of its own refreshes go through one gate.',
  finding: 'gate_bypassed',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [{ do: 'copy_token' }, { do: 'post_token', token: 'copied' }, { do: 'call' }, { do: 'expire_access' }, { do: 'call', times: 2 }],
}
