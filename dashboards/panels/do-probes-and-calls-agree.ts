import { LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { stateTimeline } from '../panel-kinds.ts'
import { legendOf, maxBy, selected, series } from '../query.ts'
import { GREEN, RED } from '../theme.ts'

export const doProbesAndCallsAgree = stateTimeline({
  title: 'Probe and calls',
  question: 'Do the last probe of each profile and its last calls agree about its credential?',
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
