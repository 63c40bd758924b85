import { type Child, element } from './element.ts'

/** One column of a table. */
export interface Column<Row> {
  readonly title: string
  readonly cell: (row: Row) => Child
  /** Numbers stand right, under each other. */
  readonly isNumber?: boolean
  /** Says more in a word than the cell shows; left out on a phone. */
  readonly isMinor?: boolean
}

interface TableOptions<Row> {
  readonly name: string
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  /** What distinguishes rows. */
  readonly keyOf: (row: Row) => string
  readonly selected?: string
  /** Makes rows choosable by click, Enter and the arrow keys. */
  readonly onChoose?: (row: Row) => void
  readonly isBad?: (row: Row) => boolean
}

/** A table whose rows can be walked through by the arrow keys and chosen by Enter. */
export function table<Row>({ name, caption, columns, rows, keyOf, selected, onChoose, isBad }: TableOptions<Row>): HTMLElement {
  const chosen = rows.findIndex(row => keyOf(row) === selected)
  const body = rows.map((row, index) => {
    const key = keyOf(row)
    const choose = onChoose && (() => onChoose(row))
    return element(
      'tr',
      {
        'data-key': `${name}:${key}`,
        class: `${choose ? 'choosable' : ''} ${isBad?.(row) ? 'failed' : ''}`.trim() || undefined,
        'aria-selected': choose ? String(key === selected) : undefined,
        // One stop for the tab key; the arrows do the rest.
        tabindex: choose ? (index === Math.max(chosen, 0) ? 0 : -1) : undefined,
        on: choose ? { click: choose, keydown: event => onKey(event as KeyboardEvent, choose) } : {},
      },
      ...columns.map(({ title, cell, isNumber, isMinor }) =>
        element('td', { class: classOf(isNumber, isMinor), 'data-title': title }, cell(row)),
      ),
    )
  })
  const head = columns.map(({ title, isNumber, isMinor }) => element('th', { scope: 'col', class: classOf(isNumber, isMinor) }, title))
  return element(
    'div',
    { class: 'scroll cards', 'data-scroll': name },
    element(
      'table',
      { role: onChoose ? 'grid' : undefined },
      element('caption', { class: 'hidden' }, caption),
      element('thead', {}, element('tr', {}, ...head)),
      element('tbody', {}, ...body),
    ),
  )
}

function classOf(isNumber = false, isMinor = false): string | undefined {
  return `${isNumber ? 'number' : ''} ${isMinor ? 'minor' : ''}`.trim() || undefined
}

/** Arrow keys walk between the rows of a list, Enter and the space bar choose. */
export function onKey(event: KeyboardEvent, choose: () => void): void {
  const here = event.currentTarget as HTMLElement | SVGElement
  if (event.target !== here) return
  if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault()
    choose()
    return
  }
  const siblings = [...(here.parentElement?.children ?? [])].filter(child => child.hasAttribute('tabindex'))
  const at = siblings.indexOf(here)
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: siblings.length - 1 }[event.key]
  const to = next === undefined ? undefined : siblings[next]
  if (!(to instanceof HTMLElement || to instanceof SVGElement)) return
  event.preventDefault()
  here.setAttribute('tabindex', '-1')
  to.setAttribute('tabindex', '0')
  to.focus()
}
