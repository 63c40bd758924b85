import { LABEL_PROFILE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, quantile } from '../query.ts'

export const howLongDoRefreshesWaitForTheLease = timeseries({
  title: 'Waiting for the lease',
  question: 'How long do refreshes wait until no other process holds the lease of the profile?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'leaseWait', [LABEL_PROFILE]),
    legend: `${legendOf(LABEL_PROFILE)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
