import { LABEL_PROFILE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, selected, series, sumBy } from '../query.ts'

export const areLeasesLost = timeseries({
  title: 'Leases lost',
  question: 'Were leases taken away while a refresh was under way?',
  queries: [
    {
      expression: sumBy([LABEL_PROFILE], grown(series('leasesLost', selected('leasesLost')), '$__interval')),
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'count',
  bars: true,
  redFrom: 1,
})
