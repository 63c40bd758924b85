import { LABEL_REASON } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, selected, series, sumBy } from '../query.ts'

export const whyDoCallsFallBack = timeseries({
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
