import type { Scenario } from './scenario.ts'

export const answerLostScenario: Scenario = {
  number: 14,
  name: 'answer-lost',
  title: 'The connection breaks after the provider has rotated, before it has answered',
  why: 'A proxy or a network that changes resets the connection while the answer is on its way.',
  source: 'openclaw/openclaw (comments), anthropics/claude-code#90688',
  symptom: 'One refresh ends in ECONNRESET, and every refresh after that is refused as already used.',
  finding: 'answer_lost',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: 'token', resetAfterCommit: true, times: 1 } },
    { do: 'call' },
    { do: 'acquire', by: 'status_bar', reason: 'operator' },
    { do: 'call', times: 2 },
  ],
}
