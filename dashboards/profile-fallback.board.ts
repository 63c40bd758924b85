import { LABEL_FROM, LABEL_OUTCOME, LABEL_PROFILE, LABEL_PROVIDER, LABEL_REASON, LABEL_STATE, LABEL_TO } from '../otel/semconv.ts'
import { type Board, placed } from './board.ts'
import { toBoard } from './links.ts'
import { NOT_REPORTED } from './panel.ts'
import { nodeGraph, stateTimeline, timeseries } from './panel-kinds.ts'
import { whatCanEveryProfileDo, whichShareOfCallsChangedBilling } from './profile-panels.ts'
import { grown, is, legendOf, maxBy, observations, oneOf, RATE, relabel, selected, series, sumBy, WHOLE_RANGE } from './query.ts'
import { tablePanel } from './table.ts'
import { GREEN, RED, STATE_COLOURS } from './theme.ts'

const doProbesAndCallsAgree = stateTimeline({
  title: 'Probe and calls',
  question: 'Do the last probe of each profile and its last calls agree about its credential?',
  empty: NOT_REPORTED,
  // With several gateways one that sees them disagree is enough.
  queries: [
    {
      expression: maxBy([LABEL_PROVIDER, LABEL_PROFILE], series('probeDivergence', selected('probeDivergence'))),
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  words: { 0: { text: 'agree', color: GREEN }, 1: { text: 'diverge', color: RED } },
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})

const fallbacks = grown(series('fallbacks', selected('fallbacks')), WHOLE_RANGE)

function nodesOf(label: string): string {
  return relabel(relabel(sumBy([label], fallbacks), 'id', '$1', label), 'title', '$1', label)
}

const ends = relabel(relabel(sumBy([LABEL_FROM, LABEL_TO, LABEL_REASON], fallbacks), 'source', '$1', LABEL_FROM), 'target', '$1', LABEL_TO)

const fromWhereToWhereDoCallsFallBack = nodeGraph({
  title: 'From profile to profile',
  question: 'From which profile to which do calls fall back, and for which reason?',
  nodes: `max by (id, title) (${nodesOf(LABEL_FROM)} or ${nodesOf(LABEL_TO)})`,
  edges: sumBy(['id', 'source', 'target'], `label_join(${ends}, "id", " > ", "source", "target", "${LABEL_REASON}")`),
})

const tokenRows = [LABEL_PROVIDER, LABEL_PROFILE]

const whenDoTokensExpire = tablePanel({
  title: 'Tokens',
  question: 'When does the access token of each profile expire, and how often was its login rotated?',
  empty: NOT_REPORTED,
  rows: tokenRows,
  columns: [
    // Of several gateways the one that knows the newest token is right.
    { title: 'Expires in', expression: `${maxBy(tokenRows, series('tokenExpiry', selected('tokenExpiry')))} - time()`, unit: 'seconds' },
    { title: 'Rotations', expression: maxBy(tokenRows, series('generation', selected('generation'))), unit: 'count' },
  ],
  cellLinks: { [LABEL_PROFILE]: [toBoard('Refreshes of this profile', 'whoRefreshes', { provider: 'provider', profile: 'profile' })] },
})

const changed = series('billingChanges', selected('billingChanges'))

const whenDoesBillingChange = timeseries({
  title: 'Changes of billing',
  question: 'When are calls answered by a profile that is paid for otherwise than the one they were meant for?',
  queries: [{ expression: sumBy([LABEL_FROM, LABEL_TO], grown(changed, '$__interval')), legend: legendOf(LABEL_FROM, LABEL_TO) }],
  unit: 'count',
  bars: true,
})

const whenWasEachProfileProbed = timeseries({
  title: 'Age of the last probe',
  question: 'How long ago was each profile probed?',
  empty: NOT_REPORTED,
  // Of several gateways the one that probed last knows best.
  queries: [
    {
      expression: `min by (${LABEL_PROVIDER}, ${LABEL_PROFILE}) (${series('probeAge', selected('probeAge'))})`,
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'seconds',
})

const fallbackRows = [LABEL_PROVIDER, LABEL_FROM, LABEL_TO, LABEL_REASON]

const whichFallbacksHappened = tablePanel({
  title: 'Fallbacks',
  question: 'Which fallbacks happened, and why?',
  rows: fallbackRows,
  columns: [
    { title: 'Fallbacks', expression: sumBy(fallbackRows, grown(series('fallbacks', selected('fallbacks')), WHOLE_RANGE)), unit: 'count' },
  ],
  cellLinks: { [LABEL_FROM]: [toBoard('Refreshes of this profile', 'whoRefreshes', { profile: 'from' })] },
})

const whichProfileServes = timeseries({
  title: 'Calls served by profile',
  question: 'Which profile serves?',
  queries: [
    {
      expression: sumBy(
        [LABEL_PROFILE],
        `rate(${observations('attemptDuration', selected('attemptDuration', { [LABEL_OUTCOME]: is('ok') }))}[${RATE}])`,
      ),
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'perSecond',
})

const unusable = series('profileState', selected('profileState', { [LABEL_STATE]: oneOf('resting', 'needs_login') }))

const whichProfilesRest = timeseries({
  title: 'Time out of service',
  question: 'Which profiles rest after failures or wait for a login, for which share of the time?',
  // A rest may be shorter than a step; its share of the step still shows.
  queries: [
    {
      expression: `${maxBy([LABEL_PROFILE, LABEL_STATE], `avg_over_time(${unusable}[$__interval])`)} > 0`,
      legend: legendOf(LABEL_PROFILE, LABEL_STATE),
    },
  ],
  unit: 'share',
  bars: true,
  colours: { resting: STATE_COLOURS.resting, needs_login: STATE_COLOURS.needs_login },
})

export const profileFallback: Board = {
  key: 'profileFallback',
  title: 'Gatewatch / Profile fallback',
  question: 'Which profile serves, which were given up, why, and what does it cost?',
  rows: [
    { panels: [placed(whichProfileServes, 12, 8), placed(whatCanEveryProfileDo, 12, 8)] },
    { title: 'From profile to profile', panels: [placed(whichFallbacksHappened, 14, 9), placed(fromWhereToWhereDoCallsFallBack, 10, 9)] },
    { title: 'Who pays', panels: [placed(whenDoesBillingChange, 18, 7), placed(whichShareOfCallsChangedBilling, 6, 7)] },
    { title: 'Out of service', panels: [placed(whichProfilesRest, 12, 8), placed(whenDoTokensExpire, 12, 8)] },
    { title: 'Probes', panels: [placed(doProbesAndCallsAgree, 14, 7), placed(whenWasEachProfileProbed, 10, 7)] },
  ],
}
