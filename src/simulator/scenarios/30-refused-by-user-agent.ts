import type { Scenario } from './scenario.ts'

export const refusedByUserAgentScenario: Scenario = {
  number: 30,
  name: 'refused-by-user-agent',
  title: "A firewall throttles every refresh that does not call itself the provider's own client",
  why: 'The token endpoint lets one User-Agent through and answers 429 without Retry-After to all others.',
  source: 'opencode-claude-auth#60 (a wrong User-Agent gets 429)',
  symptom: 'Refreshes are throttled at once and for ever, while calls work and the own client of the provider refreshes.',
  finding: 'refused_by_user_agent',
  setting: {
    logins: [
      { profile: 'anthropic:work', firstAccessLifeMs: 60_000, ageMs: 3_600_000 },
      { profile: 'anthropic:laptop', account: 'acc-laptop', ageMs: 3_600_000 },
    ],
  },
  steps: [
    { do: 'fault', fault: { where: 'token', unlessUserAgent: 'claude-cli/*', name: 'anthropic_firewall_429' } },
    { do: 'call', protocol: 'messages', model: 'claude-sonnet-5', profile: 'anthropic:work', times: 2 },
    { do: 'client', name: 'its own client', profile: 'anthropic:laptop', userAgent: 'claude-cli/2.1.0', acts: [{ act: 'refresh' }] },
    { do: 'wait', ms: 1_000 },
    { do: 'call', protocol: 'messages', model: 'claude-sonnet-5', profile: 'anthropic:work' },
  ],
}
