import type { Scenario } from './scenario.ts'

export const claimOrphanedScenario: Scenario = {
  number: 33,
  name: 'claim-orphaned',
  title: 'A process dies between its claim and its refresh, and everybody waits for it',
  why: 'A caller that finds the claim watches it; no caller asks whether its owner is alive, and it has no end of its own.',
  source: 'openclaw/openclaw 2026.9.6 (refresh fence)',
  symptom: 'Every turn hangs for two minutes and fails, and nothing is ever sent to the token endpoint.',
  finding: 'claim_orphaned',
  played:
    'the wait of 120 s lasts 300 ms. The gate of Gatewatch takes the lease of a dead process over; so an application plays that claims in a file, with the gate around its function.',
  setting: { logins: [{ firstAccessLifeMs: -60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'gateway', killAt: 'received', steps: [{ do: 'claimed_refresh', waitMs: 300 }] },
    { do: 'claimed_refresh', waitMs: 300, times: 3 },
  ],
}
