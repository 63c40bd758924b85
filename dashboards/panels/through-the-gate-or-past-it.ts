import { LABEL_VIA } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, observations, selected, sumBy } from '../query.ts'
import { VIA_COLOURS } from '../theme.ts'

export const throughTheGateOrPastIt = timeseries({
  title: 'Through the gate or past it',
  question: 'Do refreshes go through the gate?',
  queries: [
    {
      expression: sumBy([LABEL_VIA], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_VIA),
    },
  ],
  unit: 'count',
  bars: true,
  colours: VIA_COLOURS,
})
