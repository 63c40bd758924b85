import { LABEL_MODEL, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, legendOf, observations, RATE, selected, sumBy } from '../query.ts'

const attempts = observations('attemptDuration', selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL) }))

export const howManyAttemptsAreMade = timeseries({
  title: 'Attempts by provider and model',
  question: 'How many requests go to which provider, for which model?',
  queries: [
    { expression: sumBy([LABEL_PROVIDER, LABEL_MODEL], `rate(${attempts}[${RATE}])`), legend: legendOf(LABEL_PROVIDER, LABEL_MODEL) },
  ],
  unit: 'perSecond',
})
