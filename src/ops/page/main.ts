import type { Overview } from '../api-types.ts'
import { addressOf, type PageAddress, parseAddress } from './address.ts'
import { bypassesView } from './bypasses-view.ts'
import { callsView } from './calls-view.ts'
import { copyText } from './copy.ts'
import { type Child, element, fill } from './element.ts'
import { fallbackView } from './fallback-view.ts'
import { findingsView } from './findings-view.ts'
import { count, keepTimesTrue, moment } from './format.ts'
import { showFilters, showHeader } from './header.ts'
import { Live, type LiveState } from './live.ts'
import { button, empty } from './parts.ts'
import { profilesView } from './profiles-view.ts'
import { refreshesView } from './refreshes-view.ts'
import { traceView } from './trace-view.ts'
import type { Ask, View, ViewContext } from './view.ts'

/** Changes that come within this time are shown together. */
const RENEW_MS = 700
const TIMES_MS = 1_000
const SAID_MS = 4_000
const THEME_KEY = 'gatewatch-theme'

const VIEWS = [refreshesView, bypassesView, profilesView, fallbackView, callsView, findingsView] as readonly View<unknown>[]
const ALL_VIEWS = [...VIEWS, traceView as View<unknown>]

const parts = { top: partOf('top'), filters: partOf('filters'), content: partOf('content'), foot: partOf('foot'), said: partOf('said') }
let place = parseAddress(location.hash)
let overview: Overview | undefined
let liveState: LiveState = 'live'
/** What stands there, to be drawn again when the window or the colours change. */
let shown: { readonly view: View<unknown>; readonly answer: unknown; readonly seen: Overview } | undefined
/** The question under way; an answer to an older one comes too late. */
let asking = 0
let lastRenewed = 0
let renewal: number | undefined
let silence: number | undefined

const live = new Live(renewSoon, state => {
  liveState = state
  showTop()
})

function viewOf({ view }: PageAddress): View<unknown> {
  return ALL_VIEWS.find(({ name }) => name === view) ?? (refreshesView as View<unknown>)
}

/** Asks for what the place shows, and shows it. */
async function renew(): Promise<void> {
  asking += 1
  const mine = asking
  const asked = place
  lastRenewed = performance.now()
  const view = viewOf(asked)
  const ask: Ask = (endpoint, more = {}) => fetchJson(`ops/data/${endpoint}?${new URLSearchParams({ ...asked.parameters, ...more })}`)
  try {
    const [seen, answer] = await Promise.all([fetchJson<Overview>('ops/data/overview'), view.load(ask, asked)])
    if (mine !== asking) return
    overview = seen
    shown = { view, answer, seen }
    showTop()
    show(view, answer, seen)
  } catch (error) {
    if (mine !== asking) return
    if (parts.content.querySelector('.view')) return say('The server does not answer; what is shown is old.')
    fill(parts.content, empty('Nothing could be read.', error instanceof Error ? error.message : 'The server does not answer.'))
  }
}

function show(view: View<unknown>, answer: unknown, seen: Overview): void {
  const context: ViewContext = { place, overview: seen, change, renew: () => void renew(), say }
  document.title = `${view.title} · Gatewatch`
  showFilters(parts.filters, { place, overview: seen, filters: view.filters, change })
  // A user is about to copy by hand: the selection must not change.
  if (hasSelection()) return
  const copy = async (text: string, what: string) =>
    say((await copyText(text)) ? `Copied as ${what}.` : 'The browser did not let the page copy.')
  const body = view.show(answer, context)
  fill(
    parts.content,
    element(
      'div',
      { class: `view view-${view.name}`, 'data-view': view.name },
      element(
        'div',
        { class: 'view-head' },
        element('h1', {}, view.title),
        element('p', { class: 'quiet grow' }, view.question),
        element(
          'div',
          { class: 'actions' },
          ...(view.actions?.(answer, context) ?? []),
          button('Copy JSON', 'copy-json', () => void copy(JSON.stringify(answer, undefined, 2), 'JSON')),
          button('Copy Markdown', 'copy-markdown', () => void copy(view.markdown(answer, context), 'Markdown')),
        ),
      ),
      ...notices(seen),
      ...body,
    ),
  )
  showFoot(seen)
}

function showAgain(): void {
  if (shown) show(shown.view, shown.answer, shown.seen)
}

function turnLive(): void {
  if (liveState === 'paused') {
    live.start()
    return
  }
  live.stop()
  // An answer that is on its way would move what is to hold still.
  asking += 1
  window.clearTimeout(renewal)
  renewal = undefined
}

function notices({ trouble }: Overview): Child[] {
  return [trouble !== undefined && element('p', { class: 'notice bad' }, trouble)]
}

function showTop(): void {
  showHeader(parts.top, {
    place,
    overview,
    views: VIEWS,
    live: liveState,
    theme: themeNow(),
    onLive: turnLive,
    onTheme: turnTheme,
  })
}

function showFoot({ source, version, sinceMs, events, forgotten }: Overview): void {
  fill(
    parts.foot,
    element('span', {}, source.kind === 'gateway' ? `gateway (${source.title})` : `state folder ${source.title}`),
    element('span', {}, `${count(events)} events stored`, ...(sinceMs === undefined ? [] : [', since ', moment(sinceMs)])),
    forgotten > 0 && element('span', {}, `${count(forgotten)} older refreshes are counted and no longer stored`),
    element('span', {}, `Gatewatch ${version}`),
    source.kind === 'gateway' && element('a', { href: 'ops/runbook' }, 'Runbook'),
  )
}

/** Filters go into the address; the address decides what is shown. */
function change(parameters: Readonly<Record<string, string>>): void {
  location.hash = addressOf({ ...place, parameters: { ...place.parameters, ...parameters } })
}

function go(): void {
  const before = place
  place = parseAddress(location.hash)
  showTop()
  if (before.view !== place.view || before.subject !== place.subject) {
    scrollTo(0, 0)
    partOf('content').focus({ preventScroll: true })
  }
  void renew()
}

/** A busy gateway changes all the time: the page asks at its own pace. */
function renewSoon(): void {
  if (renewal !== undefined || document.hidden) return
  renewal = window.setTimeout(
    () => {
      renewal = undefined
      // A trace that is over does not change any more.
      if (place.view !== 'trace') void renew()
    },
    Math.max(0, RENEW_MS - (performance.now() - lastRenewed)),
  )
}

async function fetchJson<T>(url: string): Promise<T> {
  const answer = await fetch(url, { headers: { accept: 'application/json' } })
  // Signed out meanwhile: the page's own address asks for a key.
  if (answer.status === 401) location.reload()
  const body = (await answer.json()) as T & { error?: { message?: string } }
  if (!answer.ok) throw new Error(body.error?.message ?? `the server answered ${answer.status}`)
  return body
}

function say(text: string): void {
  fill(parts.said, element('p', {}, text))
  window.clearTimeout(silence)
  silence = window.setTimeout(() => fill(parts.said), SAID_MS)
}

function hasSelection(): boolean {
  const selection = getSelection()
  return selection !== null && !selection.isCollapsed && selection.anchorNode !== null && parts.content.contains(selection.anchorNode)
}

function themeNow(): string {
  return document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')
}

function turnTheme(): void {
  const theme = themeNow() === 'dark' ? 'light' : 'dark'
  document.documentElement.dataset.theme = theme
  localStorage.setItem(THEME_KEY, theme)
  showTop()
  showAgain()
}

function partOf(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (!found) throw new Error(`the page lacks #${id}`)
  return found
}

const kept = localStorage.getItem(THEME_KEY)
if (kept === 'dark' || kept === 'light') document.documentElement.dataset.theme = kept
addEventListener('hashchange', go)
addEventListener('resize', showAgain)
document.addEventListener('visibilitychange', () => !document.hidden && liveState === 'live' && renewSoon())
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', showAgain)
partOf('skip').addEventListener('click', event => {
  // The address names the view; a fragment of its own would lose it.
  event.preventDefault()
  parts.content.focus()
})
setInterval(keepTimesTrue, TIMES_MS)
showTop()
live.start()
void renew()
