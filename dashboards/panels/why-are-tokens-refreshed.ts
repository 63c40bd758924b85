import { LABEL_REASON } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, observations, selected, sumBy } from '../query.ts'

export const whyAreTokensRefreshed = timeseries({
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
