import type { Scenario } from './scenario.ts'

export const identityMismatchScenario: Scenario = {
  number: 22,
  name: 'identity-mismatch',
  title: 'A refresh brings the tokens of another account',
  why: 'The person belongs to several workspaces, and the provider picked another one.',
  source: 'openclaw/openclaw 2026.9.6 (identity checks on the result of a refresh)',
  symptom: 'Calls are answered for another workspace, or end in 403, since the last refresh.',
  finding: 'identity_mismatch',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: 'token', switchAccountTo: 'acc-other' } },
    { do: 'call', times: 2 },
  ],
}
