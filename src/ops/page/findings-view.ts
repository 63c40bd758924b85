import type { FindingsAnswer } from '../api-types.ts'
import { addressFrom } from './address.ts'
import { type Child, element } from './element.ts'
import { count, moment, plain } from './format.ts'
import { callerCell, code, empty, figures, inMarkdown, panel, traceLink } from './parts.ts'
import { badge, type Tone } from './tone.ts'
import type { View, ViewContext } from './view.ts'

/** As much of a finding as is shown; what `diagnose` leaves out is left out here. */
interface ShownFinding {
  readonly kind: string
  readonly severity: string
  readonly title: string
  readonly what: string
  readonly confidence: string
  readonly seen?: { readonly count: number; readonly first: string; readonly last: string }
  readonly profiles?: readonly string[]
  readonly callers?: readonly { readonly caller: string; readonly place?: string; readonly count: number }[]
  readonly hypotheses?: readonly { readonly hypothesis: string; readonly verdict: string; readonly evidence: string }[]
  readonly shape?: { readonly differences?: readonly string[] }
  readonly remedy?: readonly string[]
  readonly surerBy?: string
  readonly explains?: readonly { readonly title: string; readonly count: number }[]
  readonly traceIds?: readonly string[]
}

const SEVERITY_TONES: Readonly<Record<string, Tone>> = {
  grant_dead: 'bad',
  money_spent: 'bad',
  storm: 'warn',
  divergence: 'warn',
  warning: 'plain',
}

/** What `diagnose` says now. */
export const findingsView: View<FindingsAnswer> = {
  name: 'findings',
  title: 'Findings',
  question: 'What is wrong, who does it, and what is to be done?',
  filters: [],
  load: (ask, _place) => ask<FindingsAnswer>('findings'),

  show(answer, context) {
    const findings = findingsOf(answer)
    if (!context.overview.can.findings)
      return [empty('No diagnosis runs here.', element('span', {}, 'Run ', code('gatewatch diagnose'), ' on the state folder.'))]
    if (findings.length === 0)
      return [empty('Nothing is wrong, as far as the recorded events show.', `${count(answer.checked.events)} events were read.`)]
    return [
      figures(
        { label: 'Findings', value: count(findings.length) },
        {
          label: 'Grants dead',
          value: count(findings.filter(({ severity }) => severity === 'grant_dead').length),
          tone: findings.some(({ severity }) => severity === 'grant_dead') ? 'bad' : undefined,
        },
        { label: 'Money spent', value: count(findings.filter(({ severity }) => severity === 'money_spent').length) },
      ),
      ...findings.map(finding => findingPanel(finding, context)),
    ]
  },

  markdown(answer) {
    return [
      '### Findings',
      ...findingsOf(answer).map(({ title, severity, confidence, what, remedy = [], callers = [], traceIds = [] }) =>
        [
          `#### ${inMarkdown(title)} (${plain(severity)}, ${confidence})`,
          inMarkdown(what),
          ...(callers.length > 0
            ? [
                `Callers: ${callers.map(({ caller, place, count: times }) => inMarkdown(`${caller}${place ? ` at ${place}` : ''} (${times})`)).join(', ')}`,
              ]
            : []),
          remedy.map((step, index) => `${index + 1}. ${inMarkdown(step)}`).join('\n'),
          `Traces: ${traceIds.join(', ')}`,
        ].join('\n\n'),
      ),
    ].join('\n\n')
  },
}

function findingsOf({ findings }: FindingsAnswer): readonly ShownFinding[] {
  return findings as readonly ShownFinding[]
}

function findingPanel(finding: ShownFinding, { place }: ViewContext): HTMLElement {
  const {
    title,
    severity,
    kind,
    what,
    confidence,
    seen,
    callers = [],
    hypotheses = [],
    remedy = [],
    surerBy,
    explains = [],
    traceIds = [],
    profiles = [],
    shape,
  } = finding
  const facts: (readonly [string, Child])[] = [
    ...(seen
      ? [
          [
            'Seen',
            element(
              'span',
              {},
              `${count(seen.count)} times, first `,
              moment(Date.parse(seen.first)),
              ', last ',
              moment(Date.parse(seen.last)),
            ),
          ] as const,
        ]
      : []),
    ...(profiles.length > 0
      ? [
          [
            'Profiles',
            element(
              'span',
              {},
              ...profiles.flatMap((name, index) => [
                index > 0 && ', ',
                element('a', { href: addressFrom(place, 'profiles', { profile: name }) }, name),
              ]),
            ),
          ] as const,
        ]
      : []),
    ...hypotheses.map(
      ({ hypothesis, verdict, evidence }) =>
        [plain(hypothesis), element('span', {}, badge(verdict, verdict === 'supported' ? 'warn' : 'plain'), ` ${evidence}`)] as const,
    ),
    ...(shape?.differences?.length ? [['Request differs', element('span', {}, shape.differences.join('; '))] as const] : []),
    ...(surerBy === undefined ? [] : [['Surer by', surerBy] as const]),
    ...(explains.length > 0 ? [['Explains', explains.map(other => `${other.title} (${other.count})`).join('; ')] as const] : []),
    ...(traceIds.length > 0 ? [['Traces', element('span', { class: 'traces' }, ...traceIds.map(id => traceLink(id)))] as const] : []),
  ]
  return element(
    'article',
    { class: `finding ${SEVERITY_TONES[severity] ?? 'plain'}`, 'data-kind': kind },
    panel(
      title,
      [badge(severity, SEVERITY_TONES[severity] ?? 'plain'), element('span', { class: 'quiet grow' }, confidence)],
      element('p', { class: 'prose' }, what),
      element(
        'div',
        { class: 'columns' },
        element(
          'div',
          {},
          element('dl', { class: 'facts' }, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])),
        ),
        element(
          'div',
          {},
          callers.length > 0 && element('h4', {}, 'Who'),
          callers.length > 0 &&
            element(
              'ul',
              { class: 'who' },
              ...callers.map(({ caller, place: at, count: times }) =>
                element('li', {}, callerCell(caller), element('span', { class: 'quiet' }, `${at ? `${at} · ` : ''}${count(times)} times`)),
              ),
            ),
          remedy.length > 0 && element('h4', {}, 'What to do'),
          remedy.length > 0 && element('ol', { class: 'remedy' }, ...remedy.map(step => element('li', {}, step))),
        ),
      ),
    ),
  )
}
