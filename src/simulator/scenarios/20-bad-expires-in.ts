import type { Scenario } from './scenario.ts'

export const badExpiresInScenario: Scenario = {
  number: 20,
  name: 'bad-expires-in',
  title: 'The token endpoint sends expires_in as 0, as a text, in milliseconds, or not at all',
  why: 'A change at the provider, or a proxy that rewrites answers.',
  source: 'openclaw/openclaw ("response missing fields"), RFC 6749 section 5.1',
  symptom: 'A client refreshes before every call, or refuses the answer.',
  finding: 'bad_expires_in',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'call' },
    { do: 'fault', fault: { where: 'token', expiresIn: 'milliseconds', times: 1 } },
    { do: 'fault', fault: { where: 'token', expiresIn: 'string', times: 1 } },
    { do: 'fault', fault: { where: 'token', expiresIn: 'missing', times: 1 } },
    { do: 'acquire', by: 'status_bar', reason: 'operator', times: 3 },
    { do: 'call' },
    { do: 'fault', fault: { where: 'token', expiresIn: 'zero' } },
    { do: 'client', name: 'impatient', token: 'current', acts: [{ act: 'refresh', times: 6 }, { act: 'call' }] },
  ],
}
