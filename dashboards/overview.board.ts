import { LABEL_CALLER, LABEL_OUTCOME, LABEL_PROFILE, LABEL_PROVIDER, LABEL_REASON, LABEL_STATE } from '../otel/semconv.ts'
import { NEUTRAL_TOKEN_OUTCOMES } from '../src/domain/enums.ts'
import { type Board, placed } from './board.ts'
import { BOARD_UIDS, toBoard } from './links.ts'
import { NOT_REPORTED } from './panel.ts'
import { stat, text, timeseries } from './panel-kinds.ts'
import { whatCanEveryProfileDo, whichShareOfCallsChangedBilling } from './profile-panels.ts'
import { grown, is, legendOf, maxBy, noneOf, observations, RATE, selected, series, share, sumBy, WHOLE_RANGE } from './query.ts'
import { failedRefreshes } from './refresh-failure-burn.ts'
import { tablePanel } from './table.ts'
import { REFRESH_OBJECTIVE } from './theme.ts'

const tried = selected('refreshDuration', { [LABEL_OUTCOME]: noneOf(...NEUTRAL_TOKEN_OUTCOMES) })
const all = sumBy([], grown(observations('refreshDuration', tried), WHOLE_RANGE))
const failed = sumBy([], failedRefreshes(WHOLE_RANGE, selected('refreshDuration')))

const doRefreshesSucceed = stat({
  title: `Refreshes that succeed (objective ${REFRESH_OBJECTIVE * 100} %)`,
  question: 'Which share of the refreshes brought a token that can be used?',
  query: { expression: `1 - (${share(failed, all)})`, legend: 'succeeded' },
  unit: 'share',
  redBelow: REFRESH_OBJECTIVE,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})

const howDoAttemptsEnd = timeseries({
  title: 'Attempts by outcome',
  question: 'How do the requests to the providers end?',
  queries: [
    {
      expression: sumBy([LABEL_OUTCOME], `rate(${observations('attemptDuration', selected('attemptDuration'))}[${RATE}])`),
      legend: legendOf(LABEL_OUTCOME),
    },
  ],
  unit: 'perSecond',
  links: [toBoard('Provider calls', 'providerCalls')],
})

const howManyBypasses = stat({
  title: 'Bypasses',
  question: 'How many token requests went past the gate?',
  // 0 where a Gatewatch looks for them.
  query: {
    expression: `${sumBy([], grown(series('bypasses', selected('bypasses')), WHOLE_RANGE))} or max(${series('info')}) * 0`,
    legend: 'bypasses',
  },
  empty: NOT_REPORTED,
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})

const dead = series('profileState', selected('profileState', { [LABEL_STATE]: is('needs_login') }))

const howManyProfilesNeedALogin = stat({
  title: 'Profiles that need a login',
  question: 'How many profiles can only be mended by signing in again?',
  query: { expression: sumBy([], maxBy([LABEL_PROVIDER, LABEL_PROFILE], dead)), legend: 'need a login' },
  empty: NOT_REPORTED,
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Profile fallback', 'profileFallback')],
})

const howManyReplays = stat({
  title: 'Replays',
  question: 'How often was a refresh token sent that had already been rotated away?',
  // 0 where refreshes are seen.
  query: {
    expression: `${sumBy([], grown(series('replays', selected('replays')), WHOLE_RANGE))} or ${sumBy([], grown(observations('refreshDuration', selected('refreshDuration')), WHOLE_RANGE))} * 0`,
    legend: 'replays',
  },
  empty: NOT_REPORTED,
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})

const whatIsThis = text({
  title: 'What is this?',
  question: 'What does this board show, and where do I look next?',
  markdown: `**Who refreshed the token, why, and did they go through the gate?** This page shows whether all is well; each row leads on.

- A caller refreshes too often, or past the gate: [Who refreshes](/d/${BOARD_UIDS.whoRefreshes})
- The wrong profile serves, or the bill grows: [Profile fallback](/d/${BOARD_UIDS.profileFallback})
- Calls fail or are slow: [Provider calls](/d/${BOARD_UIDS.providerCalls})
- Locks, store, telemetry itself: [Inside](/d/${BOARD_UIDS.inside})`,
})

/** Prometheus' own series of alerts; not a metric of ours. */
const ALERTS = 'ALERTS{alertstate="firing", alertname=~"Gatewatch.+"}'

const whichAlertsFire = tablePanel({
  title: 'Firing alerts',
  question: 'Which alerts fire now, for which profile and caller?',
  rows: ['alertname', 'severity', LABEL_PROVIDER, LABEL_PROFILE, LABEL_CALLER],
  columns: [
    {
      title: 'Alerts',
      expression: `sum by (alertname, severity, ${LABEL_PROVIDER}, ${LABEL_PROFILE}, ${LABEL_CALLER}) (${ALERTS})`,
      unit: 'count',
    },
  ],
})

const whyAreTokensRefreshed = timeseries({
  title: 'Refreshes by reason',
  question: 'Why are tokens refreshed?',
  queries: [
    {
      expression: sumBy([LABEL_REASON], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_REASON),
    },
  ],
  unit: 'count',
  bars: true,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})

const whyDoCallsFallBack = timeseries({
  title: 'Fallbacks by reason',
  question: 'Why do calls go on to another profile?',
  queries: [
    {
      expression: sumBy([LABEL_REASON], grown(series('fallbacks', selected('fallbacks')), '$__interval')),
      legend: legendOf(LABEL_REASON),
    },
  ],
  unit: 'count',
  bars: true,
  links: [toBoard('Profile fallback', 'profileFallback')],
})

export const overview: Board = {
  key: 'overview',
  title: 'Gatewatch / Overview',
  question: 'Is all well with logins, refreshes and calls, and where do I look if not?',
  rows: [
    { panels: [placed(whatIsThis, 6, 8), placed(whatCanEveryProfileDo, 10, 8), placed(whichAlertsFire, 8, 8)] },
    {
      panels: [
        placed(doRefreshesSucceed, 8, 4),
        placed(howManyBypasses, 4, 4),
        placed(howManyReplays, 4, 4),
        placed(howManyProfilesNeedALogin, 4, 4),
        placed(whichShareOfCallsChangedBilling, 4, 4),
      ],
    },
    {
      title: 'The way of a call',
      panels: [placed(howDoAttemptsEnd, 8, 8), placed(whyAreTokensRefreshed, 8, 8), placed(whyDoCallsFallBack, 8, 8)],
    },
  ],
}
