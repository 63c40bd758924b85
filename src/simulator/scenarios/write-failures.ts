import { writeFileSync } from 'node:fs'
import { FINDING_KINDS, SEVERITIES } from '../../diagnose/finding.ts'
import type { Rule } from '../../diagnose/rule.ts'
import { RULES } from '../../diagnose/rules.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'

const PAGE = new URL('../../../dashboards/failures.md', import.meta.url)

const SEVERITY_WORDS = {
  grant_dead: 'a login cannot be refreshed any more',
  money_spent: 'calls are paid by use that were meant for a subscription',
  storm: 'far more token requests than are needed',
  divergence: 'processes or probes disagree about a login',
  warning: 'something to look at',
} as const satisfies Record<(typeof SEVERITIES)[number], string>

/** Symptom, scenario, finding and remedy of every known failure, as Markdown: written from scenarios and rules. */
export function failuresPage(): string {
  return `${[
    '# Failures of OAuth refresh and profile fallback',
    'Written by `npm run reference` from `src/simulator/scenarios/` and `src/diagnose/rules/`; changes made here are lost.',
    'From a symptom to its cause: `gatewatch diagnose` reads what was recorded and names the finding. Each failure can be played on this machine: `gatewatch simulate --scenario NAME`.',
    '## By symptom',
    table(['what an operator sees', 'scenario', 'finding'], SCENARIOS.filter(({ finding }) => finding !== 'none').map(symptomRow)),
    '## Findings',
    `The most harmful are reported first: ${SEVERITIES.map(severity => `${code(severity)} (${SEVERITY_WORDS[severity]})`).join(', ')}.`,
    ...rulesInOrder().map(findingSection),
    '## Scenarios',
    table(['#', 'scenario', 'what happens', 'why', 'source'], SCENARIOS.map(scenarioRow)),
  ].join('\n\n')}\n`
}

function rulesInOrder(): Rule[] {
  return RULES.toSorted(
    (a, b) =>
      SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || FINDING_KINDS.indexOf(a.kind) - FINDING_KINDS.indexOf(b.kind),
  )
}

function findingSection({ kind, severity, title, symptom, detectedBy, remedy, explains = [] }: Rule): string {
  const played = SCENARIOS.filter(({ finding }) => finding === kind).map(({ name }) => code(name))
  return [
    `### ${kind}`,
    `${title} (${code(severity)}).`,
    [
      `- Symptom: ${symptom}`,
      `- Shown by: ${detectedBy}.`,
      ...(played.length > 0 ? [`- Played by: ${played.join(', ')}`] : []),
      ...(explains.length > 0 ? [`- Replaces ${explains.map(code).join(', ')} where they are about the same events`] : []),
    ].join('\n'),
    remedy.map((step, index) => `${index + 1}. ${step}`).join('\n'),
  ].join('\n\n')
}

function symptomRow({ symptom, name, finding }: Scenario): string[] {
  return [symptom, code(name), `[${code(finding)}](#${finding})`]
}

function scenarioRow({ number, name, title, why, source, played }: Scenario): string[] {
  return [String(number), code(name), `${title}.${played === undefined ? '' : ` Played instead: ${played}`}`, why, source]
}

function code(text: string): string {
  return `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')
}

if (import.meta.main) writeFileSync(PAGE, failuresPage())
