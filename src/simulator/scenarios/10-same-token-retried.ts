import type { Scenario } from './scenario.ts'

export const sameTokenRetriedScenario: Scenario = {
  number: 10,
  name: 'same-token-retried',
  title: 'A call that got 401 is sent three times more with the same token',
  why: 'The code that retries broken connections catches the 401 as well.',
  source: 'openclaw/openclaw#82069, reproduced (the Codex transport of pi-ai)',
  symptom: 'One turn takes seven seconds to fail, and the provider counts four 401.',
  finding: 'same_token_retried',
  played: 'The pauses are 50, 100 and 200 ms in place of 1, 2 and 4 s.',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }] },
    { do: 'expire_access' },
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'stubborn_call' }] },
  ],
}
