import { LABEL_OUTCOME } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, observations, selected, sumBy } from '../query.ts'

export const howDoRefreshesEnd = timeseries({
  title: 'Refreshes by outcome',
  question: 'How do refreshes end?',
  queries: [
    {
      expression: sumBy([LABEL_OUTCOME], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_OUTCOME),
    },
  ],
  unit: 'count',
  bars: true,
})
