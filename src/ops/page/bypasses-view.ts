import type { BypassesAnswer, BypassLine, ReplayLine, SendLine, ShapeLine } from '../api-types.ts'
import { type Child, element } from './element.ts'
import { clock, count, duration, moment } from './format.ts'
import { callerCell, code, empty, figures, inMarkdown, markdownTable, panel, renderStack, stackList, traceLink } from './parts.ts'
import { type Column, table } from './table.ts'
import { badge } from './tone.ts'
import type { View, ViewContext } from './view.ts'

const COLUMNS: readonly Column<BypassLine>[] = [
  { title: 'When', cell: line => moment(line.atMs) },
  { title: 'Caller', cell: line => callerCell(line.caller) },
  { title: 'Reason', cell: line => badge(line.reason, 'plain') },
  { title: 'Outcome', cell: line => badge(line.outcome) },
  { title: 'Token', cell: line => (line.replay ? badge('replay', 'bad') : element('span', { class: 'quiet' }, 'fresh')) },
  { title: 'Profile', cell: line => line.profile, isMinor: true },
]

/** Token requests that went past the gate, and refresh tokens that were sent twice. */
export const bypassesView: View<BypassesAnswer> = {
  name: 'bypasses',
  title: 'Bypasses',
  question: 'Who goes past the gate, with what, and who replays a token?',
  filters: ['window', 'profile', 'reason', 'outcome'],
  load: ask => ask<BypassesAnswer>('bypasses'),

  show({ total, bypasses, replays }, context) {
    if (bypasses.length === 0 && replays.length === 0) return [nothing(context)]
    const chosen = bypasses.find(line => keyOf(line) === context.place.parameters.pick) ?? bypasses[0]
    return [
      figures(
        { label: 'Past the gate', value: count(total), tone: total > 0 ? 'warn' : undefined },
        { label: 'Callers', value: count(new Set(bypasses.map(({ caller }) => caller)).size) },
        { label: 'Tokens replayed', value: count(replays.length), tone: replays.length > 0 ? 'bad' : undefined },
      ),
      bypasses.length > 0 &&
        panel(
          'Past the gate',
          [total > bypasses.length && element('span', { class: 'quiet' }, `the newest ${bypasses.length} of ${count(total)}`)],
          element('div', { class: 'beside' }, bypassTable(bypasses, chosen, context), chosen && detail(chosen)),
        ),
      replays.length > 0 &&
        panel(
          'Replayed refresh tokens',
          [element('span', { class: 'quiet' }, 'by fingerprint; the token itself is kept nowhere')],
          ...replays.map(replay),
        ),
    ]
  },

  markdown({ bypasses, replays }, { place }) {
    const chosen = bypasses.find(line => keyOf(line) === place.parameters.pick) ?? bypasses[0]
    return [
      '### Token requests past the gate',
      markdownTable(
        ['when', 'caller', 'reason', 'outcome', 'replay', 'profile', 'trace'],
        bypasses.map(line => [
          clock(line.atMs),
          line.caller,
          line.reason,
          line.outcome || '-',
          line.replay ? 'yes' : 'no',
          line.profile,
          line.traceId,
        ]),
      ),
      ...(chosen
        ? [`Stack of the one at ${clock(chosen.atMs)}:`, `\`\`\`\n${renderStack(chosen.stack).replaceAll('`', "'")}\n\`\`\``]
        : []),
      ...replays.map(
        line =>
          `Refresh token ${line.fingerprint} was sent ${line.again.length + (line.first ? 1 : 0)} times: ${line.again.map(send => inMarkdown(`${send.caller} (${send.outcome || '?'})`)).join(', ')}`,
      ),
    ].join('\n\n')
  },
}

function bypassTable(rows: readonly BypassLine[], chosen: BypassLine | undefined, { change }: ViewContext): HTMLElement {
  return table({
    name: 'bypasses',
    caption: 'Token requests past the gate; Enter shows stack and shape',
    columns: COLUMNS,
    rows,
    keyOf,
    selected: chosen ? keyOf(chosen) : '',
    onChoose: line => change({ pick: keyOf(line) }),
    isBad: line => line.failed,
  })
}

function detail(line: BypassLine): HTMLElement {
  const facts: (readonly [string, Child])[] = [
    ['Place', line.file === '' ? 'unknown' : element('span', { class: 'mono' }, `${line.file}:${line.line}`)],
    ['Answer', `${line.status ?? 'none'}${line.providerCode === '' ? '' : ` ${line.providerCode}`}`],
    ['Provider', `${line.provider} · ${line.profile}`],
    ['Took', duration(line.durationMs)],
    ...(line.policy === '' ? [] : [['Policy', line.policy] as const]),
    ...(line.process === '' ? [] : [['Process', line.process] as const]),
    ['Trace', traceLink(line.traceId, line.traceId)],
  ]
  return element(
    'div',
    { class: 'detail', 'aria-label': 'The chosen bypass' },
    element('h3', {}, callerCell(line.caller)),
    element(
      'p',
      { class: 'badges' },
      badge('bypass'),
      badge(line.reason, 'plain'),
      badge(line.outcome),
      line.replay && badge('replay', 'bad'),
      element('span', { class: 'quiet' }, clock(line.atMs)),
    ),
    element('dl', { class: 'facts' }, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])),
    element('h4', {}, 'Stack'),
    stackList(line.stack),
    element('h4', {}, 'Request shape'),
    line.shape ? shapeTable(line.shape, line.good) : element('p', { class: 'quiet' }, 'The request was not seen on its way out.'),
  )
}

/** The fields of the request beside those of the last one that brought a token; what differs is marked. */
function shapeTable(shape: ShapeLine, good: ShapeLine | undefined): HTMLElement {
  const mine = new Map(shape.fields.map(({ name, value }) => [name, value]))
  const other = new Map(good?.fields.map(({ name, value }) => [name, value]))
  const names = [...new Set([...mine.keys(), ...other.keys()])].sort()
  const rows = names.map(name => {
    const isSame = !good || kindOf(mine.get(name)) === kindOf(other.get(name))
    return element(
      'tr',
      { class: isSame ? undefined : 'differs' },
      element('th', { scope: 'row' }, name),
      element('td', {}, mine.get(name) ?? 'absent'),
      element('td', {}, good ? (other.get(name) ?? 'absent') : '–'),
    )
  })
  return element(
    'div',
    {},
    element(
      'table',
      { class: 'shape' },
      element(
        'thead',
        {},
        element('tr', {}, ...['Field', 'This request', 'Last good one'].map(title => element('th', { scope: 'col' }, title))),
      ),
      element('tbody', {}, ...rows),
    ),
    element(
      'p',
      { class: 'quiet' },
      ...(good
        ? ['Last good one: ', moment(good.atMs), ` by ${good.caller}, `, traceLink(good.traceId)]
        : ['No request of this provider that brought a token was seen with its shape.']),
    ),
  )
}

/** The class of a value without its length: tokens differ in length and are of one kind. */
function kindOf(value: string | undefined): string | undefined {
  return value?.replace(/:\d+$/, '')
}

function replay({ fingerprint, acrossProcesses, first, again }: ReplayLine): HTMLElement {
  const step = (line: SendLine, what: string) =>
    element(
      'li',
      {},
      element('span', { class: 'step' }, what),
      callerCell(line.caller),
      badge(line.via),
      badge(line.outcome),
      line.process !== '' && element('span', { class: 'quiet' }, line.process),
      moment(line.atMs),
      traceLink(line.traceId),
    )
  return element(
    'article',
    { class: 'replay' },
    element('h3', {}, element('span', { class: 'mono' }, fingerprint), acrossProcesses && badge('several processes', 'warn')),
    element(
      'ol',
      {},
      first ? step(first, 'used it up') : element('li', { class: 'quiet' }, 'Who used it up was not seen; that it was used up is known.'),
      ...again.map(line => step(line, 'sent it again')),
    ),
  )
}

function nothing({ overview: { source } }: ViewContext): HTMLElement {
  const how =
    source.kind === 'gateway'
      ? 'Every token request of this process went through the gate.'
      : element(
          'span',
          {},
          'A watched process needs a declared gate, or nothing can be called a bypass: ',
          code('gatewatch run --gate refreshWithLock -- node app.js'),
        )
  return empty('No caller went past the gate in this time, and no token was replayed.', how)
}

function keyOf({ traceId, atMs }: BypassLine): string {
  return `${traceId}.${Math.round(atMs)}`
}
