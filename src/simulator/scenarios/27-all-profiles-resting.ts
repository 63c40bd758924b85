import type { Scenario } from './scenario.ts'

export const allProfilesRestingScenario: Scenario = {
  number: 27,
  name: 'all-profiles-resting',
  title: 'One profile has used up its quota, the other is refused: everything rests, then comes back',
  why: 'Profiles rest after failures one by one, until none is left.',
  source: 'openclaw/openclaw#17873, #38335',
  symptom: 'No model answers for a while, then everything works again; or a weaker model answers in between.',
  finding: 'all_profiles_resting',
  setting: {
    logins: [{ ageMs: 3_600_000 }, { profile: 'openai-codex:team', account: 'acc-team', ageMs: 3_600_000 }],
  },
  steps: [
    { do: 'call', times: 2 },
    { do: 'fault', fault: { where: 'provider', account: 'acc-work', name: 'usage_limit_429' } },
    { do: 'fault', fault: { where: 'provider', account: 'acc-team', name: 'token_invalidated_401' } },
    { do: 'call', times: 2 },
    { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
    { do: 'end_faults' },
    { do: 'call', times: 2 },
  ],
}
