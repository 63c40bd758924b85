import type { Scenario } from './scenario.ts'

export const leaseContentionScenario: Scenario = {
  number: 18,
  name: 'lease-contention',
  title: 'A process waits in vain for the lock that another one holds',
  why: 'The holder hangs in a slow request, or those who wait are less patient than the request may take.',
  source: 'openclaw/openclaw#74055, anthropics/claude-code#95739',
  symptom: 'Calls of one process fail without any request, while another process refreshes.',
  finding: 'lease_contention',
  played:
    'A lease carries no time, so that no clock can date it into the future; a holder that died is followed at once. What is left is a holder that lives and is slow.',
  setting: { logins: [{ firstAccessLifeMs: -1_000, ageMs: 3_600_000 }], gateway: { gate: { leaseWaitMs: 300 } } },
  steps: [
    { do: 'fault', fault: { where: 'token', latencyMs: 800, times: 1 } },
    { do: 'gateway', steps: [{ do: 'acquire', by: 'token_warmer', reason: 'scheduled' }], beside: true },
    { do: 'until', point: 'committed' },
    { do: 'call' },
  ],
}
