import type { FrameLine, RefreshLine } from '../api-types.ts'
import { addressOfTrace } from './address.ts'
import { type Child, drawn, element } from './element.ts'
import { clock, duration, moment } from './format.ts'
import { type Column, table } from './table.ts'
import { badge, type Tone } from './tone.ts'

/** A number with what it counts. */
interface Figure {
  readonly label: string
  readonly value: string
  readonly note?: string
  readonly tone?: Tone | undefined
}

export function figures(...all: readonly Figure[]): HTMLElement {
  return element(
    'dl',
    { class: 'figures' },
    ...all.map(({ label, value, note, tone }) =>
      element(
        'div',
        { class: `figure ${tone ?? ''}` },
        element('dt', {}, label),
        element('dd', {}, value, note !== undefined && element('span', { class: 'quiet' }, ` ${note}`)),
      ),
    ),
  )
}

/** A part of a view with a heading of its own. */
export function panel(title: string, actions: readonly Child[], ...children: readonly Child[]): HTMLElement {
  return element('section', { class: 'panel' }, element('div', { class: 'panel-head' }, element('h2', {}, title), ...actions), ...children)
}

/** Says what is missing and how to get it. */
export function empty(title: string, ...how: readonly Child[]): HTMLElement {
  return element('div', { class: 'empty' }, element('p', { class: 'empty-title' }, title), ...how.map(line => element('p', {}, line)))
}

export function code(text: string): HTMLElement {
  return element('code', {}, text)
}

/** The caller, its function before its file. */
export function callerCell(caller: string): HTMLElement {
  const cut = caller.lastIndexOf('#')
  if (cut <= 0) return element('span', { class: 'caller', title: caller }, element('b', {}, caller))
  return element(
    'span',
    { class: 'caller', title: caller },
    element('b', {}, caller.slice(cut + 1)),
    element('span', { class: 'path' }, caller.slice(0, cut)),
  )
}

export function traceLink(traceId: string, label = traceId.slice(0, 8)): HTMLElement {
  const link = element('a', { class: 'trace-link', href: addressOfTrace(traceId), title: `trace ${traceId}` }, label)
  // Within a row that can be chosen, the link is meant and not the row.
  link.addEventListener('click', event => event.stopPropagation())
  return link
}

/** A small curve of counts. */
export function trend(counts: readonly number[]): SVGElement {
  const most = Math.max(1, ...counts)
  const bars = counts.map((value, index) => {
    const height = value === 0 ? 0 : Math.max(1.5, (value / most) * 16)
    return drawn('rect', { x: index * 4, y: 18 - height, width: 3, height })
  })
  return drawn(
    'svg',
    { class: 'trend', width: counts.length * 4, height: 18, role: 'img', 'aria-label': `trend, at most ${most} in a step` },
    ...bars,
  )
}

/** A stack, nearest frame first; frames of the application stand out, the caller most of all. */
export function stackList(frames: readonly FrameLine[]): HTMLElement {
  if (frames.length === 0) return element('p', { class: 'quiet' }, 'No stack was recorded.')
  return element(
    'ol',
    { class: 'stack' },
    ...frames.map(({ name, file, line, application, caller }) =>
      element(
        'li',
        { class: caller ? 'frame-caller' : application ? 'frame-own' : 'frame-library' },
        element('span', { class: 'frame-name' }, name),
        element('span', { class: 'path' }, file === '' ? '' : `${file}:${line}`),
        caller && element('span', { class: 'tag' }, 'caller'),
        !application && element('span', { class: 'tag plain' }, 'library'),
      ),
    ),
  )
}

/** The newest refreshes of something chosen, each with its trace. */
export function refreshTable(name: string, lines: readonly RefreshLine[]): HTMLElement {
  const columns: Column<RefreshLine>[] = [
    { title: 'When', cell: line => moment(line.atMs) },
    { title: 'Caller', cell: line => callerCell(line.caller) },
    { title: 'Reason', cell: line => badge(line.reason, 'plain') },
    { title: 'Via', cell: line => badge(line.via) },
    { title: 'Outcome', cell: line => badge(line.outcome) },
    { title: 'Profile', cell: line => line.profile, isMinor: true },
    { title: 'Took', cell: line => duration(line.durationMs), isNumber: true },
    { title: 'Trace', cell: line => traceLink(line.traceId) },
  ]
  return table({
    name,
    caption: 'Latest refreshes',
    columns,
    rows: lines,
    keyOf: line => `${line.traceId}${line.atMs}`,
    isBad: line => line.failed,
  })
}

/** A button of words. */
export function button(
  label: string,
  key: string,
  onClick: () => void,
  given: Readonly<Record<string, string | boolean>> = {},
): HTMLButtonElement {
  return element('button', { type: 'button', 'data-key': key, ...given, on: { click: onClick } }, label)
}

/** Buttons of which one is pressed. */
export function choice(
  label: string,
  options: readonly (readonly [value: string, title: string])[],
  chosen: string,
  onChoose: (value: string) => void,
): HTMLElement {
  const buttons = options.map(([value, title]) =>
    button(title, `${label}:${value}`, () => onChoose(value), { 'aria-pressed': String(value === chosen) }),
  )
  return element('div', { class: 'choice', role: 'group', 'aria-label': label }, ...buttons)
}

/** A table in Markdown; what a cell holds cannot end it. */
export function markdownTable(titles: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.map(cell => inMarkdown(String(cell))).join(' | ')} |`
  return [line(titles), `|${titles.map(() => ' --- ').join('|')}|`, ...rows.map(line)].join('\n')
}

/** A text that Markdown and HTML show unchanged. */
export function inMarkdown(text: string): string {
  return text.replaceAll(/[\\`*_[\]<>|#@]/g, '\\$&').replaceAll(/\s+/g, ' ')
}

export function renderStack(frames: readonly FrameLine[]): string {
  return frames.map(({ name, file, line, caller }) => `${caller ? '>' : ' '} ${name} (${file}:${line})`).join('\n')
}

export { clock }
