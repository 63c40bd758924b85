import { LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, selected } from '../query.ts'
import { refreshesPerTokenLife } from '../token-life.ts'

export const howManyRefreshesPerTokenLife = timeseries({
  title: 'Refreshes per token life',
  question: 'How often is a token refreshed in its lifetime (of a long life, in an hour of it)? Once is enough.',
  queries: [
    {
      expression: refreshesPerTokenLife(selected('refreshDuration'), selected('tokenExpiry')),
      legend: legendOf(LABEL_PROVIDER, LABEL_PROFILE),
    },
  ],
  unit: 'count',
})
