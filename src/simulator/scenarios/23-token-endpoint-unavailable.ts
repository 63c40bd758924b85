import type { Scenario } from './scenario.ts'

export const tokenEndpointUnavailableScenario: Scenario = {
  number: 23,
  name: 'token-endpoint-unavailable',
  title: 'The token endpoint answers 503, then 429 with Retry-After',
  why: 'The provider has an incident, or limits how often it is asked.',
  source: 'openclaw/openclaw#17873, RFC 9110 section 10.2.3',
  symptom: 'Refreshes fail for a while; a client that takes this for the end of the login asks people to sign in again.',
  finding: 'token_endpoint_unavailable',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: 'token', name: 'unavailable_503', times: 1 } },
    { do: 'fault', fault: { where: 'token', name: 'throttled_429', headers: { 'retry-after': '1' }, times: 1 } },
    { do: 'call', times: 2 },
    { do: 'wait', ms: 1_100 },
    { do: 'call' },
    { do: 'wait', ms: 1_050 },
    { do: 'call' },
  ],
}
