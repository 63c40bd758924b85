import { LABEL_OPERATION, LABEL_OUTCOME, LABEL_PROFILE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosenOrAbsent, grown, legendOf, observations, selected, sumBy } from '../query.ts'

export const howDoLoginsEnd = timeseries({
  title: 'Logins and revocations by outcome',
  question: 'How do logins, code exchanges, device logins and revocations end?',
  queries: [
    {
      expression: sumBy(
        [LABEL_OPERATION, LABEL_OUTCOME],
        grown(
          observations('operationDuration', selected('operationDuration', { [LABEL_PROFILE]: chosenOrAbsent(LABEL_PROFILE) })),
          '$__interval',
        ),
      ),
      legend: legendOf(LABEL_OPERATION, LABEL_OUTCOME),
    },
  ],
  unit: 'count',
  bars: true,
})
