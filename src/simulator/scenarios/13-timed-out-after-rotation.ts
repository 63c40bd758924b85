import type { Scenario } from './scenario.ts'

export const timedOutAfterRotationScenario: Scenario = {
  number: 13,
  name: 'timed-out-after-rotation',
  title: 'A refresh is given up after its time limit, and the provider rotates all the same',
  why: 'The token endpoint is slower than the client has patience; a caller that stops waiting does not stop the provider.',
  source: 'openclaw/openclaw#82069, reproduced; AutoGPT#14195',
  symptom: 'One refresh times out, and every refresh after that is refused as already used.',
  finding: 'timed_out_after_rotation',
  played: 'The endpoint answers after 4 s in place of ten minutes, and the gateway listens for 1 s in place of five.',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }], gateway: { gate: { requestTimeoutMs: 1_000, listenMs: 1_000 } } },
  steps: [
    { do: 'fault', fault: { where: 'token', latencyMs: 4_000, times: 1 } },
    { do: 'call' },
    // The operator tries again before the pause after a failure is over.
    { do: 'acquire', by: 'status_bar', reason: 'operator' },
    { do: 'call', times: 2 },
  ],
}
