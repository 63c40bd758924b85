import { LABEL_BILLING_CHANGED, LABEL_FROM, LABEL_TO } from '../../otel/names.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, is, legendOf, selected, series, sumBy } from '../query.ts'

const changed = series('fallbacks', selected('fallbacks', { [LABEL_BILLING_CHANGED]: is('true') }))

export const whenDoesBillingChange = timeseries({
  title: 'Changes of billing',
  question: 'When do calls go on to a profile that is paid for otherwise?',
  queries: [{ expression: sumBy([LABEL_FROM, LABEL_TO], grown(changed, '$__interval')), legend: legendOf(LABEL_FROM, LABEL_TO) }],
  unit: 'count',
  bars: true,
})
