import type { Overview } from '../api-types.ts'
import { addressFrom, type PageAddress } from './address.ts'
import { element, fill } from './element.ts'
import { count } from './format.ts'
import type { LiveState } from './live.ts'
import { button, choice } from './parts.ts'
import type { FilterName } from './view.ts'

interface HeaderOptions {
  readonly place: PageAddress
  readonly overview: Overview | undefined
  readonly views: readonly { readonly name: string; readonly title: string }[]
  readonly live: LiveState
  readonly theme: string
  readonly onLive: () => void
  readonly onTheme: () => void
}

const LIVE_TEXTS: Readonly<Record<LiveState, string>> = { live: 'Live', lost: 'Reconnecting', paused: 'Paused' }

const WINDOWS = [
  ['5m', '5 min'],
  ['15m', '15 min'],
  ['', '1 h'],
  ['6h', '6 h'],
  ['24h', '24 h'],
  ['7d', '7 d'],
  ['all', 'All'],
] as const

const WORD_TITLES = { profile: 'Profile', reason: 'Reason', outcome: 'Outcome', via: 'Via' } as const

/** Name, views, and whether the page is live. */
export function showHeader(into: Element, { place, overview, views, live, theme, onLive, onTheme }: HeaderOptions): void {
  const numbers: Readonly<Record<string, number | undefined>> = { bypasses: overview?.totals.bypasses }
  const links = views.map(({ name, title }) => {
    const number = numbers[name] ?? 0
    return element(
      'a',
      { href: addressFrom(place, name), 'aria-current': name === place.view ? 'page' : undefined, 'data-key': `nav:${name}` },
      title,
      number > 0 &&
        element('span', { class: 'counter warn', title: `${count(number)} since the start` }, number > 999 ? '999+' : count(number)),
    )
  })
  fill(
    into,
    element('a', { class: 'brand', href: addressFrom(place, 'refreshes'), 'data-key': 'brand' }, 'Gatewatch'),
    element('nav', { 'aria-label': 'Views', 'data-scroll': 'nav' }, ...links),
    element(
      'div',
      { class: 'tools' },
      button(LIVE_TEXTS[live], 'live', onLive, {
        class: `live ${live}`,
        'aria-pressed': String(live !== 'paused'),
        title: 'Follow what happens, or hold still',
      }),
      button(theme === 'dark' ? 'Light' : 'Dark', 'theme', onTheme, { title: 'Light or dark' }),
    ),
  )
}

interface FiltersOptions {
  readonly place: PageAddress
  readonly overview: Overview
  readonly filters: readonly FilterName[]
  readonly change: (parameters: Readonly<Record<string, string>>) => void
}

/** The filters a view knows. */
export function showFilters(into: Element, { place: { parameters }, overview: { words }, filters, change }: FiltersOptions): void {
  const isRange = parameters.from !== undefined && parameters.to !== undefined
  const selects = (['profile', 'reason', 'outcome', 'via'] as const)
    .filter(name => filters.includes(name))
    .map(name => {
      const chosen = parameters[name] ?? ''
      const known = new Set([...words[name], ...(chosen === '' ? [] : [chosen])])
      return element(
        'label',
        { class: chosen === '' ? undefined : 'active' },
        element('span', {}, WORD_TITLES[name]),
        element(
          'select',
          {
            'data-key': `filter:${name}`,
            on: { change: event => change({ [name]: (event.target as HTMLSelectElement).value, pick: '' }) },
          },
          element('option', { value: '' }, 'all'),
          ...[...known].map(word => element('option', { value: word, selected: word === chosen }, word)),
        ),
      )
    })
  const isFiltered = isRange || filters.some(name => name !== 'window' && parameters[name])
  fill(
    into,
    filters.includes('window') &&
      choice('Time', WINDOWS, isRange ? 'range' : (parameters.window ?? ''), window => change({ window, from: '', to: '' })),
    isRange && element('span', { class: 'quiet' }, `${timeOf(parameters.from)} to ${timeOf(parameters.to)}`),
    ...selects,
    isFiltered &&
      button('Clear', 'clear-filters', () =>
        change({ profile: '', reason: '', outcome: '', via: '', from: '', to: '', pick: '', frame: '' }),
      ),
  )
}

function timeOf(text: string | undefined): string {
  const at = new Date(Number(text))
  return Number.isNaN(at.getTime()) ? '?' : at.toLocaleTimeString('en-GB')
}
