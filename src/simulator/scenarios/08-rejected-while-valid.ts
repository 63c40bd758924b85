import type { Scenario } from './scenario.ts'

export const rejectedWhileValidScenario: Scenario = {
  number: 8,
  name: 'rejected-while-valid',
  title: 'The API answers 401 to an access token that is good for days',
  why: 'The provider ended the access token early; the client only knows the expiry.',
  source: 'openclaw/openclaw#82069, openai/codex issues (token_invalidated)',
  symptom: 'Calls end in 401 although the status says that the login is fine.',
  finding: 'rejected_while_valid',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [{ do: 'call', times: 2 }, { do: 'expire_access' }, { do: 'call', times: 2 }],
}
