import type { Scenario } from './scenario.ts'

export const normalRotationScenario: Scenario = {
  number: 1,
  name: 'normal-rotation',
  title: 'A token near its expiry is rotated once and serves on',
  why: 'That is how it is meant to be: nothing may be reported.',
  source: 'RFC 6749 section 6',
  symptom: 'None.',
  finding: 'none',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'call' },
    {
      do: 'together',
      steps: [
        { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
        { do: 'call', by: 'chat_page' },
      ],
    },
    { do: 'acquire', by: 'token_warmer', reason: 'scheduled' },
    { do: 'probe' },
    { do: 'call', times: 3 },
  ],
}
