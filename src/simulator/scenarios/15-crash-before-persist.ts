import type { Scenario } from './scenario.ts'

export const crashBeforePersistScenario: Scenario = {
  number: 15,
  name: 'crash-before-persist',
  title: 'A process is killed when the provider has rotated and nothing is stored yet',
  why: 'A restart, the out-of-memory killer or a deployment hits the moment between the answer and the disk.',
  source: 'openclaw/openclaw#57107, #52037, #66952',
  symptom: 'After a restart the login is dead: already used.',
  finding: 'crash_before_persist',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'gateway', steps: [{ do: 'call', by: 'session_restore' }], killAt: 'committed' },
    { do: 'call', times: 2 },
  ],
}
