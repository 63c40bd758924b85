import type { Scenario } from './scenario.ts'

export const sessionBrokenByRotationScenario: Scenario = {
  number: 31,
  name: 'session-broken-by-rotation',
  title: 'Sessions that were begun before a rotation are refused after it',
  why: 'What the provider encrypted into the conversation is bound to the former token or account.',
  source: 'openclaw/openclaw#84511, #60372',
  symptom: 'Running conversations end in 400 invalid_encrypted_content; new ones work.',
  finding: 'session_broken_by_rotation',
  played: 'the provider of the play keeps no sessions: it refuses the first two calls after the rotation, as for two conversations.',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'call' },
    { do: 'fault', fault: { where: '/backend-api/codex/responses', name: 'invalid_encrypted_content', times: 2 } },
    { do: 'call', by: 'session_restore', times: 2 },
    { do: 'call' },
  ],
}
