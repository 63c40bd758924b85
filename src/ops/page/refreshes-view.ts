import type { AcquisitionRow, CallerRow, RefreshesAnswer, RefreshLinesAnswer, StacksAnswer } from '../api-types.ts'
import type { PageAddress } from './address.ts'
import { element } from './element.ts'
import { clock, count, moment, percentage, rate } from './format.ts'
import { icicle } from './icicle.ts'
import { button, callerCell, choice, code, empty, figures, markdownTable, panel, refreshTable, traceLink, trend } from './parts.ts'
import { type Column, table } from './table.ts'
import { badge } from './tone.ts'
import type { Ask, View, ViewContext } from './view.ts'

interface Answer {
  readonly refreshes: RefreshesAnswer
  readonly stacks: StacksAnswer
  readonly lines: RefreshLinesAnswer | undefined
}

/** What distinguishes rows of the caller table; also what is asked for when one is chosen. */
type Picked = Readonly<Record<'caller' | 'reason' | 'via' | 'outcome', string>>

const CALLER_COLUMNS: readonly Column<CallerRow>[] = [
  { title: 'Caller', cell: row => callerCell(row.caller) },
  { title: 'Reason', cell: row => badge(row.reason, 'plain') },
  { title: 'Via', cell: row => badge(row.via) },
  { title: 'Outcome', cell: row => badge(row.outcome) },
  { title: 'Trend', cell: row => trend(row.trend), isMinor: true },
  { title: 'Count', cell: row => count(row.count), isNumber: true },
  { title: 'Failed', cell: row => (row.failures === 0 ? '0' : count(row.failures)), isNumber: true, isMinor: true },
  { title: 'Rate', cell: row => rate(row.perHour), isNumber: true },
  { title: 'Last seen', cell: row => moment(row.lastMs), isNumber: true },
]

const ACQUISITION_COLUMNS: readonly Column<AcquisitionRow>[] = [
  { title: 'Caller', cell: row => callerCell(row.caller) },
  { title: 'Reason', cell: row => badge(row.reason, 'plain') },
  { title: 'Decision', cell: row => badge(row.decision) },
  { title: 'Count', cell: row => count(row.count), isNumber: true },
  { title: 'Rate', cell: row => rate(row.perHour), isNumber: true },
  { title: 'Last seen', cell: row => moment(row.lastMs), isNumber: true },
  { title: 'Last trace', cell: row => traceLink(row.lastTrace), isMinor: true },
]

/** Who refreshes, why, which way and with what outcome; and the stacks behind it. */
export const refreshesView: View<Answer> = {
  name: 'refreshes',
  title: 'Who refreshes',
  question: 'Who refreshes the token, why, and through which door?',
  filters: ['window', 'profile', 'reason', 'outcome', 'via'],

  async load(ask, place) {
    const [refreshes, stacks, lines] = await Promise.all([
      ask<RefreshesAnswer>('refreshes', { frame: '' }),
      ask<StacksAnswer>('stacks', { frame: '' }),
      loadLines(ask, place),
    ])
    return { refreshes, stacks, lines }
  },

  show({ refreshes, stacks, lines }, context) {
    if (refreshes.total === 0 && refreshes.acquisitions.length === 0) return [nothingYet(context)]
    const past = refreshes.callers.filter(({ via }) => via === 'bypass').reduce((sum, row) => sum + row.count, 0)
    return [
      figures(
        { label: 'Refreshes', value: count(refreshes.total) },
        {
          label: 'Failed',
          value: count(refreshes.failures),
          note: percentage(refreshes.failures, refreshes.total),
          tone: refreshes.failures > 0 ? 'bad' : undefined,
        },
        { label: 'Past the gate', value: count(past), note: percentage(past, refreshes.total), tone: past > 0 ? 'warn' : undefined },
        { label: 'Callers', value: count(new Set(refreshes.callers.map(({ caller }) => caller)).size) },
        { label: 'Stacks', value: count(stacks.stacks) },
      ),
      panel('Token requests', [], callerTable(refreshes.callers, context)),
      lines && linesPanel(lines, context),
      refreshes.total > 0 && icicleOf(stacks, context),
      refreshes.acquisitions.length > 0 &&
        panel(
          'Acquisitions at the gate',
          [element('span', { class: 'quiet' }, 'who asked for a token, and what the gate decided')],
          table({
            name: 'acquisitions',
            caption: 'Acquisitions at the gate',
            columns: ACQUISITION_COLUMNS,
            rows: refreshes.acquisitions,
            keyOf: row => `${row.caller} ${row.reason} ${row.decision}`,
          }),
        ),
    ]
  },

  actions: (_answer, { place }) => [
    element(
      'a',
      { class: 'button', href: `ops/data/speedscope?${new URLSearchParams(place.parameters)}`, download: 'gatewatch.speedscope.json' },
      'Stacks for speedscope',
    ),
  ],

  markdown({ refreshes, stacks }, { place }) {
    return [
      `### Who refreshes (${clock(refreshes.fromMs)} to ${clock(refreshes.toMs)})`,
      `${count(refreshes.total)} refreshes, ${count(refreshes.failures)} failed, ${count(stacks.stacks)} stacks${place.parameters.profile ? `, profile ${place.parameters.profile}` : ''}.`,
      markdownTable(
        ['caller', 'reason', 'via', 'outcome', 'count', 'failed', 'rate', 'last seen'],
        refreshes.callers.map(row => [
          row.caller,
          row.reason,
          row.via,
          row.outcome || '-',
          row.count,
          row.failures,
          rate(row.perHour),
          clock(row.lastMs),
        ]),
      ),
    ].join('\n\n')
  },
}

function loadLines(ask: Ask, { parameters: { pick, frame } }: PageAddress): Promise<RefreshLinesAnswer> | undefined {
  if (pick) return ask<RefreshLinesAnswer>('refresh-lines', pickedOf(pick))
  return frame ? ask<RefreshLinesAnswer>('refresh-lines') : undefined
}

function callerTable(rows: readonly CallerRow[], { place, change }: ViewContext): HTMLElement {
  if (rows.length === 0) return empty('No token request in this time.', 'Every acquisition got a token that was still good.')
  return table({
    name: 'callers',
    caption: 'Callers by reason, way and outcome; Enter shows their refreshes',
    columns: CALLER_COLUMNS,
    rows,
    keyOf: pickOf,
    selected: place.parameters.pick ?? '',
    onChoose: row => change({ pick: place.parameters.pick === pickOf(row) ? '' : pickOf(row), frame: '' }),
    isBad: row => row.failures > 0,
  })
}

function linesPanel({ lines, total }: RefreshLinesAnswer, { place, change }: ViewContext): HTMLElement {
  const { pick, frame } = place.parameters
  const of = pick ? Object.values(pickedOf(pick)).filter(Boolean).join(' · ') : `stacks through ${frame ?? ''}`
  return panel(
    'Latest of these',
    [
      element('span', { class: 'quiet grow' }, `${of}${total > lines.length ? `, the newest ${lines.length} of ${count(total)}` : ''}`),
      button('Close', 'close-lines', () => change({ pick: '', frame: '' })),
    ],
    lines.length === 0 ? empty('None in this time.') : refreshTable('lines', lines),
  )
}

function icicleOf({ root }: StacksAnswer, { place, change }: ViewContext): HTMLElement {
  const by = place.parameters.by === 'failures' ? 'failures' : 'count'
  const widths = [
    ['count', 'Refreshes'],
    ['failures', 'Failures'],
  ] as const
  return panel(
    'Call stacks that trigger refresh',
    [
      element('span', { class: 'quiet grow' }, 'outermost frame on top; width by'),
      choice('Width by', widths, by, chosen => change({ by: chosen === 'count' ? '' : chosen })),
    ],
    by === 'failures' && root.failures === 0
      ? empty('No refresh failed in this time.')
      : icicle({ root, by, frame: place.parameters.frame ?? '', onFrame: frame => change({ frame, pick: '' }) }),
  )
}

function nothingYet({ overview: { source, totals }, place: { parameters } }: ViewContext): HTMLElement {
  const isNarrowed = ['profile', 'reason', 'outcome', 'via', 'from'].some(name => parameters[name])
  if (totals.refreshes > 0 || isNarrowed)
    return empty('No refresh and no acquisition in this time.', 'Look further back, or take a filter away.')
  return source.kind === 'gateway'
    ? empty(
        'No caller has asked for a token yet.',
        'A refresh, an acquisition at the gate, a token request past it: each shows up here within a second, with the stack that asked.',
        element('span', {}, 'To see how that looks: ', code('gatewatch demo')),
      )
    : empty(
        'No caller has asked for a token yet.',
        element('span', {}, 'Watch a process: ', code('gatewatch run --gate NAME -- node app.js')),
        'What it refreshes shows up here within a second.',
      )
}

/** A row by its four words; a line break is in none of them. */
function pickOf({ caller, reason, via, outcome }: Picked): string {
  return [caller, reason, via, outcome].join('\n')
}

function pickedOf(pick: string): Picked {
  const [caller = '', reason = '', via = '', outcome = ''] = pick.split('\n')
  return { caller, reason, via, outcome }
}
