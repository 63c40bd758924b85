import type { Scenario } from './scenario.ts'

export const notPersistedScenario: Scenario = {
  number: 16,
  name: 'not-persisted',
  title: 'The disk is full when the rotated token is to be stored',
  why: 'Disk full, wrong owner after a restore, a read-only mount: what the provider gave cannot be kept.',
  source: 'openclaw/openclaw#53082, reproduced',
  symptom: 'Everything works until the next restart, then the login is dead.',
  finding: 'not_persisted',
  played: 'The write of the store fails with ENOSPC as on a full disk; a real one would need rights that a test has not.',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'store_is', state: 'full', at: 'committed' },
    { do: 'call', times: 2 },
    { do: 'call', by: 'chat_page' },
    // What a restart would find: the old token.
    { do: 'gateway', steps: [{ do: 'call', by: 'session_restore' }] },
  ],
}
