import { LABEL_FROM, LABEL_TO } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, selected, series, sumBy } from '../query.ts'

const changed = series('billingChanges', selected('billingChanges'))

export const whenDoesBillingChange = timeseries({
  title: 'Changes of billing',
  question: 'When are calls answered by a profile that is paid for otherwise than the one they were meant for?',
  queries: [{ expression: sumBy([LABEL_FROM, LABEL_TO], grown(changed, '$__interval')), legend: legendOf(LABEL_FROM, LABEL_TO) }],
  unit: 'count',
  bars: true,
})
