/** Where one is: a view with its filters, as the address names it. `#/refreshes?window=1h&profile=...` */
export interface PageAddress {
  readonly view: string
  /** What comes behind the view: the id of a trace. */
  readonly subject: string
  readonly parameters: Readonly<Record<string, string>>
}

const VIEWS = ['refreshes', 'bypasses', 'profiles', 'fallback', 'calls', 'findings', 'trace'] as const
/** Filters that stay when one goes from view to view. */
const LASTING = ['window', 'from', 'to', 'profile']

export function parseAddress(hash: string): PageAddress {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const [view = '', subject = ''] = path.split('/', 2)
  const parameters = Object.fromEntries(new URLSearchParams(query))
  return { view: VIEWS.some(known => known === view) ? view : 'refreshes', subject, parameters }
}

export function addressOf({ view, subject, parameters }: PageAddress): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== '')
  const query = new URLSearchParams(given).toString()
  return `#/${view}${subject === '' ? '' : `/${subject}`}${query === '' ? '' : `?${query}`}`
}

/** The address of another view, with the filters that stay. */
export function addressFrom(place: PageAddress, view: string, more: Readonly<Record<string, string>> = {}, subject = ''): string {
  const lasting = Object.entries(place.parameters).filter(([name]) => LASTING.includes(name))
  return addressOf({ view, subject, parameters: { ...Object.fromEntries(lasting), ...more } })
}

export function addressOfTrace(traceId: string): string {
  return addressOf({ view: 'trace', subject: traceId, parameters: {} })
}
