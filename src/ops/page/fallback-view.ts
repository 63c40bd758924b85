import type { FallbackRow, FallbacksAnswer } from '../api-types.ts'
import { chart } from './chart.ts'
import { element } from './element.ts'
import { clock, count, duration, moment, percentage, rate } from './format.ts'
import { empty, figures, markdownTable, panel, traceLink } from './parts.ts'
import { sankey } from './sankey.ts'
import { type Column, table } from './table.ts'
import { badge } from './tone.ts'
import type { View } from './view.ts'

const COLUMNS: readonly Column<FallbackRow>[] = [
  { title: 'From', cell: row => row.from },
  { title: 'To', cell: row => row.to },
  { title: 'Because of', cell: row => badge(row.reason) },
  { title: 'Count', cell: row => count(row.count), isNumber: true },
  { title: 'Rate', cell: row => rate(row.perHour), isNumber: true },
  { title: 'Last seen', cell: row => moment(row.lastMs), isNumber: true },
  { title: 'Last trace', cell: row => traceLink(row.lastTrace), isMinor: true },
]
const BILLING_COLUMNS: readonly Column<FallbackRow>[] = [
  { title: 'Meant for', cell: row => row.from },
  { title: 'Answered by', cell: row => row.to },
  ...COLUMNS.slice(2),
]
const COLORS = ['series-1', 'series-2', 'series-3', 'series-4', 'series-5', 'series-6']

/** How calls went from the preferred profile to the one that served. */
export const fallbackView: View<FallbacksAnswer> = {
  name: 'fallback',
  title: 'Fallback',
  question: 'Which profile serves, who was preferred, and what drove calls on?',
  filters: ['window', 'profile'],
  load: ask => ask<FallbacksAnswer>('fallbacks'),

  show(answer, { change }) {
    const { calls, fellBack, changedBilling, aborted, notServed, ways, fallbacks, billingChanges, timeline, stepMs } = answer
    if (calls === 0)
      return [
        empty(
          'No call in this time.',
          'Fallback is seen where Gatewatch makes the calls: through the gateway’s endpoints or watch.call(). A watched process chooses its profiles itself.',
        ),
      ]
    let series = 0
    const curves = timeline.ends.map(({ name, counts }) => ({
      label: name,
      values: counts,
      color: name === 'not served' ? 'bad' : name === 'aborted' ? 'quiet' : (COLORS[series++ % COLORS.length] ?? 'series-1'),
    }))
    return [
      figures(
        { label: 'Calls', value: count(calls) },
        { label: 'Fell back', value: count(fellBack), note: percentage(fellBack, calls), tone: fellBack > 0 ? 'warn' : undefined },
        {
          label: 'Billing changed',
          value: count(changedBilling),
          note: percentage(changedBilling, calls),
          tone: changedBilling > 0 ? 'warn' : undefined,
        },
        { label: 'Not served', value: count(notServed), tone: notServed > 0 ? 'bad' : undefined },
        { label: 'Given up by callers', value: count(aborted) },
      ),
      panel(
        'From the preferred profile to the bill',
        [element('span', { class: 'quiet' }, 'yellow: gone on to the next profile')],
        element('div', { class: 'scroll', 'data-scroll': 'sankey' }, sankey({ ways, calls, onProfile: profile => change({ profile }) })),
      ),
      panel(
        'Who served',
        [element('span', { class: 'quiet' }, `calls in ${duration(stepMs)}; drag to look closer`)],
        chart({
          name: 'ends',
          atMs: timeline.atMs,
          curves,
          textOf: value => count(Math.round(value)),
          isCount: true,
          onRange: (from, to) => change(rangeOf(from, to)),
        }),
      ),
      fallbacks.length > 0 &&
        panel(
          'Fallbacks',
          [],
          table({
            name: 'fallbacks',
            caption: 'Fallbacks by profiles and reason',
            columns: COLUMNS,
            rows: fallbacks,
            keyOf: row => `${row.from} ${row.to} ${row.reason}`,
          }),
        ),
      billingChanges.length > 0 &&
        panel(
          'Answered at another price',
          [element('span', { class: 'quiet' }, 'by a profile that pays otherwise than the preferred one')],
          table({
            name: 'billing',
            caption: 'Calls that changed how they are paid',
            columns: BILLING_COLUMNS,
            rows: billingChanges,
            keyOf: row => `${row.from} ${row.to} ${row.reason}`,
          }),
        ),
    ]
  },

  markdown({ fromMs, toMs, calls, fellBack, changedBilling, aborted, notServed, fallbacks, billingChanges }) {
    return [
      `### Fallback (${clock(fromMs)} to ${clock(toMs)})`,
      `${count(calls)} calls, ${count(fellBack)} fell back (${percentage(fellBack, calls)}), ${count(changedBilling)} changed billing, ${count(notServed)} were not served, ${count(aborted)} were given up by their callers.`,
      markdownTable(
        ['from', 'to', 'because of', 'count', 'last seen'],
        fallbacks.map(row => [row.from, row.to, row.reason, row.count, clock(row.lastMs)]),
      ),
      ...(billingChanges.length === 0
        ? []
        : [
            markdownTable(
              ['meant for', 'answered by', 'because of', 'count', 'last seen'],
              billingChanges.map(row => [row.from, row.to, row.reason, row.count, clock(row.lastMs)]),
            ),
          ]),
    ].join('\n\n')
  },
}

/** A range of time as filters. */
export function rangeOf(fromMs: number, toMs: number): Readonly<Record<string, string>> {
  return { from: String(Math.floor(fromMs)), to: String(Math.ceil(toMs)), window: '' }
}
