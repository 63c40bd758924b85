import type { Scenario } from './scenario.ts'

export const freshLoginRejectedScenario: Scenario = {
  number: 4,
  name: 'fresh-login-rejected',
  title: 'The refresh token of a login that is seconds old is rejected',
  why: 'A caller forces a refresh right after the login, and the endpoint does not take the token yet, or not from this client.',
  source: 'openclaw/openclaw#82069 (first hypothesis)',
  symptom: 'Signing in again does not help: the first refresh after it is refused again.',
  finding: 'fresh_login_rejected',
  setting: { logins: [{ ageMs: 4_000 }], gateway: { gate: { forced: 'refresh' } } },
  steps: [
    { do: 'call' },
    { do: 'fault', fault: { where: 'token', name: 'refresh_token_invalidated' } },
    { do: 'acquire', by: 'status_bar', reason: 'forced', times: 2 },
    { do: 'sign_in' },
    { do: 'acquire', by: 'status_bar', reason: 'forced' },
  ],
}
