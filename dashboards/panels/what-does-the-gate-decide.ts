import { LABEL_DECISION, LABEL_REASON } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, RATE, selected, series, sumBy } from '../query.ts'

export const whatDoesTheGateDecide = timeseries({
  title: 'Acquisitions by decision',
  question: 'What does the gate do with its acquisitions?',
  queries: [
    {
      expression: sumBy([LABEL_DECISION, LABEL_REASON], `rate(${series('acquisitions', selected('acquisitions'))}[${RATE}])`),
      legend: legendOf(LABEL_DECISION, LABEL_REASON),
    },
  ],
  unit: 'perSecond',
})
