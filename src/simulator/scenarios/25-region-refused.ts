import type { Scenario } from './scenario.ts'

export const regionRefusedScenario: Scenario = {
  number: 25,
  name: 'region-refused',
  title: 'The token endpoint refuses the region that the request comes from, while the API takes it',
  why: 'Calls go out through a proxy, and the refresh does not.',
  source: 'CLIProxyAPI#2784 (proxy ignored on refresh); the answer as users quoted it',
  symptom: 'Everything works until the access token expires; then 403, whatever is tried.',
  finding: 'region_refused',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: 'token', name: 'region_403' } },
    { do: 'call', times: 3 },
  ],
}
