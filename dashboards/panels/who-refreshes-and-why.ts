import { LABEL_CALLER, LABEL_REASON } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, observations, selected, sumBy } from '../query.ts'

export const whoRefreshesAndWhy = timeseries({
  title: 'Refreshes by caller and reason',
  question: 'Who refreshes, and why?',
  queries: [
    {
      expression: sumBy([LABEL_CALLER, LABEL_REASON], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_CALLER, LABEL_REASON),
    },
  ],
  unit: 'count',
  bars: true,
})
