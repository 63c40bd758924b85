import type { ProfileLine, ProfilesAnswer } from '../api-types.ts'
import { addressOfTrace } from './address.ts'
import { type Child, drawn, element } from './element.ts'
import { clock, count, duration, moment, percentage, plain } from './format.ts'
import { button, code, empty, figures, markdownTable, panel } from './parts.ts'
import { badge, toneOf } from './tone.ts'
import type { View, ViewContext } from './view.ts'

const STRIP_WIDTH = 1_000
const STRIP_HEIGHT = 26

/** What every profile can do, and what became of it. */
export const profilesView: View<ProfilesAnswer> = {
  name: 'profiles',
  title: 'Profiles',
  question: 'What can each profile do now, and what happened to it?',
  filters: ['window', 'profile'],
  load: ask => ask<ProfilesAnswer>('profiles'),

  show(answer, context) {
    const { profiles } = answer
    if (profiles.length === 0) return [nothing(context)]
    const dead = profiles.filter(({ state, note }) => state === 'needs_login' || (state === '' && note !== ''))
    const diverging = profiles.filter(({ probe }) => probe?.diverges)
    return [
      figures(
        { label: 'Profiles', value: count(profiles.length) },
        { label: 'Need a login', value: count(dead.length), tone: dead.length > 0 ? 'bad' : undefined },
        { label: 'Resting', value: count(profiles.filter(({ state }) => state === 'resting').length) },
        { label: 'Probe and calls disagree', value: count(diverging.length), tone: diverging.length > 0 ? 'warn' : undefined },
      ),
      ...profiles.map(profile => profilePanel(profile, answer)),
      !context.overview.can.profiles &&
        element('p', { class: 'quiet' }, 'Watched processes keep their profiles themselves: what is shown is taken from their requests.'),
    ]
  },

  actions: (_answer, context) => [context.overview.can.probe && button('Probe all now', 'probe', () => void probe(context))],

  markdown({ profiles }) {
    return [
      '### Profiles',
      markdownTable(
        ['profile', 'type', 'billing', 'state', 'expires', 'generation', 'last probe', 'calls ok / failed / given up', 'note'],
        profiles.map(line => [
          line.profile,
          line.type || '-',
          line.billing || '-',
          line.state || '-',
          line.expiresAtMs === undefined ? '-' : clock(line.expiresAtMs),
          line.generation ?? '-',
          line.probe ? `${line.probe.outcome}${line.probe.diverges ? ' (diverges)' : ''}` : '-',
          line.runtime ? `${line.runtime.ok} / ${line.runtime.failed} / ${line.runtime.aborted}` : '-',
          line.note || '-',
        ]),
      ),
    ].join('\n\n')
  },
}

function profilePanel(line: ProfileLine, answer: ProfilesAnswer): HTMLElement {
  const { runtime, probe: last } = line
  const facts: (readonly [string, Child])[] = [
    ['Access token', line.expiresAtMs === undefined ? quiet('does not expire, or is not known') : expiry(line.expiresAtMs)],
    ['Generation', line.generation === undefined ? quiet('–') : count(line.generation)],
    [
      'Cooldown',
      line.restsUntilMs === undefined
        ? quiet('none')
        : element(
            'span',
            {},
            ...(runtime && runtime.lastOutcome !== 'ok' ? [badge(runtime.lastOutcome), ' '] : []),
            'until ',
            clock(line.restsUntilMs).slice(11, 19),
            ' (',
            moment(line.restsUntilMs),
            ')',
          ),
    ],
    [
      'Last probe',
      last
        ? element('span', {}, badge(last.outcome), ' ', moment(last.atMs), last.diverges && badge('calls say otherwise', 'warn'))
        : quiet('never probed'),
    ],
    [
      'Calls',
      runtime
        ? element(
            'span',
            {},
            badge(runtime.lastOutcome),
            ' ',
            moment(runtime.lastMs),
            quiet(
              `, ${count(runtime.failed)} of ${count(runtime.ok + runtime.failed)} failed (${percentage(runtime.failed, runtime.ok + runtime.failed)})${runtime.aborted > 0 ? `, ${count(runtime.aborted)} given up by their callers` : ''}`,
            ),
          )
        : quiet('none seen'),
    ],
  ]
  return panel(
    line.profile,
    [
      line.state !== '' && badge(line.state),
      element(
        'span',
        { class: 'quiet grow' },
        [line.provider, line.type, line.billing]
          .filter(word => word !== '')
          .map(plain)
          .join(' · '),
      ),
    ],
    line.note !== '' && element('p', { class: 'notice bad' }, line.note),
    element(
      'dl',
      { class: 'facts wide' },
      ...facts.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
    ),
    strip(line, answer),
  )
}

/** States over time as a band, with a mark for each refresh that leads to its trace. */
function strip({ profile, states, refreshes }: ProfileLine, { fromMs, toMs }: ProfilesAnswer): HTMLElement {
  const at = (ms: number) => (Math.min(Math.max(ms, fromMs), toMs) - fromMs) / (toMs - fromMs)
  const bands = states.map(({ state, fromMs: began, toMs: ended }) =>
    drawn(
      'rect',
      {
        class: `band ${toneOf(state)}`,
        x: at(began) * STRIP_WIDTH,
        y: 9,
        width: Math.max(1, (at(ended) - at(began)) * STRIP_WIDTH),
        height: 12,
      },
      drawn('title', {}, `${plain(state)}: ${clock(began)} to ${clock(ended)} (${duration(ended - began)})`),
    ),
  )
  const marks = refreshes.map(({ atMs, outcome, failed, reason, via, caller, traceId }) =>
    element('a', {
      class: `mark ${failed ? 'bad' : 'good'}`,
      href: addressOfTrace(traceId),
      css: { left: `${at(atMs) * 100}%` },
      'aria-label': `${outcome} (${reason}, ${via}) by ${caller} at ${clock(atMs)}`,
      title: `${outcome} (${reason}, ${via})\n${caller}\n${clock(atMs)}`,
    }),
  )
  return element(
    'div',
    { class: 'strip' },
    element(
      'div',
      { class: 'strip-band' },
      drawn(
        'svg',
        { viewBox: `0 0 ${STRIP_WIDTH} ${STRIP_HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `states of ${profile}` },
        drawn('rect', { class: 'band none', x: 0, y: 9, width: STRIP_WIDTH, height: 12 }),
        ...bands,
      ),
      ...marks,
    ),
    element(
      'div',
      { class: 'strip-ends quiet' },
      element('span', {}, clock(fromMs).slice(0, 19)),
      element('span', {}, `${count(refreshes.length)} refreshes marked`),
      element('span', {}, 'now'),
    ),
  )
}

function expiry(atMs: number): HTMLElement {
  const isOver = atMs < Date.now()
  return element('span', { class: isOver ? 'warn-text' : undefined }, isOver ? 'expired ' : 'expires ', moment(atMs))
}

function quiet(text: string): HTMLElement {
  return element('span', { class: 'quiet' }, text)
}

async function probe({ say, renew }: ViewContext): Promise<void> {
  say('Probing every profile…')
  try {
    const answer = await fetch('ops/probe', { method: 'POST' })
    say(answer.ok ? 'Every profile was probed.' : `The gateway refused to probe (${answer.status}).`)
  } catch {
    say('The gateway does not answer.')
  }
  renew()
}

function nothing({ overview }: ViewContext): HTMLElement {
  return overview.can.profiles
    ? empty(
        'No profile is configured.',
        element('span', {}, 'Name one under ', code('profiles'), ' in the configuration, or store a login.'),
      )
    : empty('No profile was seen yet.', 'Profiles show up with the first call or refresh of a watched process.')
}
