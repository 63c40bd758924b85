import { LABEL_OUTCOME, LABEL_PROFILE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { is, legendOf, observations, RATE, selected, sumBy } from '../query.ts'

export const whichProfileServes = timeseries({
  title: 'Calls served by profile',
  question: 'Which profile serves?',
  queries: [
    {
      expression: sumBy(
        [LABEL_PROFILE],
        `rate(${observations('attemptDuration', selected('attemptDuration', { [LABEL_OUTCOME]: is('ok') }))}[${RATE}])`,
      ),
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'perSecond',
})
