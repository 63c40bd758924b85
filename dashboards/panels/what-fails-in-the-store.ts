import { ATTR_ERROR_TYPE, LABEL_OPERATION } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, series, sumBy } from '../query.ts'

export const whatFailsInTheStore = timeseries({
  title: 'Store errors',
  question: 'Which operations of the profile store fail, and how?',
  queries: [
    {
      expression: sumBy([LABEL_OPERATION, ATTR_ERROR_TYPE], grown(series('storeErrors'), '$__interval')),
      legend: legendOf(LABEL_OPERATION, ATTR_ERROR_TYPE),
    },
  ],
  unit: 'count',
  bars: true,
  redFrom: 1,
})
