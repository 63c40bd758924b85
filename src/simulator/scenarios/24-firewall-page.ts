import type { Scenario } from './scenario.ts'

export const firewallPageScenario: Scenario = {
  number: 24,
  name: 'firewall-page',
  title: 'A firewall in front of the provider answers 403 with a page for browsers',
  why: 'It takes the client for a robot, or the address it comes from for a bad one.',
  source: 'the page as users quoted it',
  symptom: 'Refreshes and calls fail with 403 or, where the client cannot read the page, with a timeout or a parse error.',
  finding: 'firewall_page',
  setting: { logins: [{ firstAccessLifeMs: 60_000, ageMs: 3_600_000 }] },
  steps: [
    { do: 'fault', fault: { where: 'all', name: 'cloudflare_html_403' } },
    { do: 'call', times: 2 },
    { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
  ],
}
