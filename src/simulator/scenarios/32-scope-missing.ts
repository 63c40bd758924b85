import type { Scenario } from './scenario.ts'

export const scopeMissingScenario: Scenario = {
  number: 32,
  name: 'scope-missing',
  title: 'The login lacks a scope that the calls need',
  why: 'A user signed in with fewer scopes than the client asks for today, or the provider no longer gives one of them.',
  source: 'RFC 6749 section 4.1.2.1; the refusal as users quoted it',
  symptom: 'Signing in works and refreshing works; every call ends in 401 or 403.',
  finding: 'scope_missing',
  played:
    'the refusal of the API alone; that the sign-in page refuses with invalid_scope needs a browser, and is shown by the same finding.',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: '/backend-api/codex/responses', name: 'missing_scope_403' } },
    { do: 'call', times: 2 },
    { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
    { do: 'acquire', by: 'token_warmer', reason: 'scheduled' },
  ],
}
