import type { Scenario } from './scenario.ts'

export const probeDisagreesScenario: Scenario = {
  number: 28,
  name: 'probe-disagrees',
  title: 'A probe in another process says ok while every turn of the gateway fails',
  why: 'The probe reads another store, so it proves another login than the one that is used.',
  source: 'openclaw/openclaw#82069 (models status --probe), #82710',
  symptom: 'The status says that the profile is fine, and nothing works.',
  finding: 'probe_disagrees',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [
    { do: 'call', times: 3 },
    { do: 'revoke' },
    { do: 'call', times: 2 },
    { do: 'gateway', role: 'probe', store: 'own', steps: [{ do: 'probe' }] },
    { do: 'call', times: 3 },
  ],
}
