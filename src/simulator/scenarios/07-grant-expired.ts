import type { Scenario } from './scenario.ts'

export const grantExpiredScenario: Scenario = {
  number: 7,
  name: 'grant-expired',
  title: 'The refresh token has expired',
  why: 'No caller used the login for longer than the provider lets a refresh token live.',
  source: 'openai/codex issues (refresh_token_expired)',
  symptom: 'The first call after a long pause ends in 401 refresh_token_expired.',
  finding: 'grant_expired',
  setting: { logins: [{ firstAccessLifeMs: -60_000, ageMs: 40 * 86_400_000 }] },
  steps: [{ do: 'expire_grant' }, { do: 'call', times: 2 }, { do: 'acquire', by: 'token_warmer', reason: 'scheduled' }],
}
