import type { Scenario } from './scenario.ts'

export const refreshTokenRetainedScenario: Scenario = {
  number: 21,
  name: 'refresh-token-retained',
  title: 'An answer brings an access token alone, and the client throws its refresh token away',
  why: 'The provider leaves the refresh token out where the old one lives on; the client stores the answer as it is.',
  source: 'RFC 6749 section 6; Google refreshes this way',
  symptom: 'One refresh works, the next one after it ends in 401: the login is gone although no user ended it.',
  finding: 'refresh_token_retained',
  setting: { logins: [{ ageMs: 3_600_000 }] },
  steps: [
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }, { act: 'refresh' }, { act: 'call' }] },
    { do: 'fault', fault: { where: 'token', omit: ['refresh_token'] } },
    { do: 'client', name: 'agent', role: 'gateway', acts: [{ act: 'call' }, { act: 'overwriting_refresh', times: 2 }] },
  ],
}
