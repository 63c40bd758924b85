import { LABEL_LABEL } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, series, sumBy } from '../query.ts'

export const whichLabelsOverflow = timeseries({
  title: 'Labels past their cap',
  question: 'Which labels have so many values that some are shown as _other?',
  queries: [{ expression: sumBy([LABEL_LABEL], grown(series('labelOverflows'), '$__interval')), legend: legendOf(LABEL_LABEL) }],
  unit: 'count',
  bars: true,
})
