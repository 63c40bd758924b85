import type { Scenario } from './scenario.ts'

export const callbackDeadlineScenario: Scenario = {
  number: 17,
  name: 'callback-deadline',
  title: 'An app-server waits ten seconds for fresh tokens, and the refresh takes longer',
  why: 'The callback has a deadline of its own; the refresh ends well, and no caller who asked for it hears of it.',
  source: 'openclaw/openclaw#89278, #142628, #142885',
  symptom: 'The app-server reports a time-out; its next turn forces a refresh again.',
  finding: 'callback_deadline',
  played: 'The callback waits 250 ms in place of 10 s, and the refresh takes 700 ms.',
  setting: { logins: [{ firstAccessLifeMs: -1_000, ageMs: 3_600_000 }], gateway: { gate: { forced: 'refresh' } } },
  steps: [
    { do: 'fault', fault: { where: 'token', latencyMs: 700, times: 1 } },
    { do: 'acquire', by: 'codex_callback', reason: 'forced', deadlineMs: 250 },
    { do: 'wait', ms: 700 },
    { do: 'acquire', by: 'codex_callback', reason: 'forced', deadlineMs: 5_000 },
    { do: 'call' },
  ],
}
