import { LABEL_OUTCOME } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, observations, RATE, selected, sumBy } from '../query.ts'

export const howDoAttemptsEnd = timeseries({
  title: 'Attempts by outcome',
  question: 'How do the requests to the providers end?',
  queries: [
    {
      expression: sumBy([LABEL_OUTCOME], `rate(${observations('attemptDuration', selected('attemptDuration'))}[${RATE}])`),
      legend: legendOf(LABEL_OUTCOME),
    },
  ],
  unit: 'perSecond',
  links: [toBoard('Provider calls', 'providerCalls')],
})
