import type { CallRow, CallsAnswer } from '../api-types.ts'
import { type Curve, chart } from './chart.ts'
import { element } from './element.ts'
import { rangeOf } from './fallback-view.ts'
import { clock, count, duration, moment, percentage, rate } from './format.ts'
import { empty, figures, markdownTable, panel, traceLink } from './parts.ts'
import { type Column, table } from './table.ts'
import { badge } from './tone.ts'
import type { View } from './view.ts'

const COLUMNS: readonly Column<CallRow>[] = [
  { title: 'Profile', cell: row => row.profile },
  { title: 'Model', cell: row => row.model },
  { title: 'Outcome', cell: row => badge(row.outcome) },
  { title: 'Count', cell: row => count(row.count), isNumber: true },
  { title: 'Rate', cell: row => rate(row.perHour), isNumber: true },
  { title: 'p50', cell: row => duration(row.p50Ms), isNumber: true },
  { title: 'p95', cell: row => duration(row.p95Ms), isNumber: true },
  { title: 'First chunk', cell: row => duration(row.firstChunkMs), isNumber: true, isMinor: true },
  { title: 'Last seen', cell: row => moment(row.lastMs), isNumber: true },
  { title: 'Last trace', cell: row => traceLink(row.lastTrace), isMinor: true },
]

/** The upstream requests: how many, how they end, how long they take. */
export const callsView: View<CallsAnswer> = {
  name: 'calls',
  title: 'Calls',
  question: 'How many provider calls are made, how do they end, how long do they take?',
  filters: ['window', 'profile'],
  load: ask => ask<CallsAnswer>('calls'),

  show(answer, { change }) {
    const { total, failures, aborts, p50Ms, p95Ms, firstChunkMs, atMs, stepMs, rows } = answer
    if (total === 0)
      return [empty('No provider call in this time.', 'Look further back, or send a request: every attempt upstream shows up here.')]
    const onRange = (from: number, to: number) => change(rangeOf(from, to))
    const timesPanel = (title: string, what: string, name: string, [p50, p95]: readonly [Curve['values'], Curve['values']]) =>
      panel(
        title,
        [element('span', { class: 'quiet' }, what)],
        chart({
          name,
          atMs,
          onRange,
          textOf: duration,
          curves: [
            { label: 'p50', values: p50, color: 'series-1' },
            { label: 'p95', values: p95, color: 'series-2' },
          ],
        }),
      )
    return [
      figures(
        { label: 'Attempts', value: count(total) },
        { label: 'Failed', value: count(failures), note: percentage(failures, total), tone: failures > 0 ? 'bad' : undefined },
        { label: 'Given up by callers', value: count(aborts) },
        { label: 'Median', value: duration(p50Ms) },
        { label: '95th percentile', value: duration(p95Ms) },
        { label: 'First chunk, median', value: duration(firstChunkMs) },
      ),
      element(
        'div',
        { class: 'charts' },
        panel(
          'Attempts',
          [element('span', { class: 'quiet' }, `in ${duration(stepMs)}`)],
          chart({
            name: 'rate',
            atMs,
            onRange,
            textOf: value => count(Math.round(value)),
            isCount: true,
            curves: [
              { label: 'good', values: answer.good, color: 'series-1' },
              { label: 'failed', values: answer.failed, color: 'bad' },
              { label: 'given up', values: answer.aborted, color: 'quiet' },
            ],
          }),
        ),
        timesPanel('Latency', 'to the last byte', 'latency', [answer.p50, answer.p95]),
        timesPanel('First chunk', 'of good answers', 'first', [answer.first50, answer.first95]),
      ),
      panel(
        'By profile, model and outcome',
        [],
        table({
          name: 'calls',
          caption: 'Attempts by profile, model and outcome',
          columns: COLUMNS,
          rows,
          keyOf: row => `${row.profile} ${row.model} ${row.outcome}`,
          isBad: row => row.outcome !== 'ok' && row.outcome !== 'aborted',
        }),
      ),
    ]
  },

  markdown({ fromMs, toMs, total, failures, aborts, p50Ms, p95Ms, rows }) {
    return [
      `### Provider calls (${clock(fromMs)} to ${clock(toMs)})`,
      `${count(total)} attempts, ${count(failures)} failed (${percentage(failures, total)}), ${count(aborts)} given up by their callers, p50 ${duration(p50Ms)}, p95 ${duration(p95Ms)}.`,
      markdownTable(
        ['profile', 'model', 'outcome', 'count', 'p50', 'p95', 'last seen'],
        rows.map(row => [row.profile, row.model, row.outcome, row.count, duration(row.p50Ms), duration(row.p95Ms), clock(row.lastMs)]),
      ),
    ].join('\n\n')
  },
}
