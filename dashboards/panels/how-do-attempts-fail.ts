import { ATTR_ERROR_TYPE, LABEL_MODEL, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, grown, isPresent, legendOf, observations, selected, sumBy } from '../query.ts'

const failed = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), [ATTR_ERROR_TYPE]: isPresent })

export const howDoAttemptsFail = timeseries({
  title: 'Failed attempts by class',
  question: 'How do requests to the providers fail?',
  queries: [
    {
      expression: sumBy([LABEL_PROVIDER, ATTR_ERROR_TYPE], grown(observations('attemptDuration', failed), '$__interval')),
      legend: legendOf(LABEL_PROVIDER, ATTR_ERROR_TYPE),
    },
  ],
  unit: 'count',
  bars: true,
})
