import { LABEL_DECISION } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, quantile } from '../query.ts'

export const howLongDoAcquisitionsWait = timeseries({
  title: 'Waiting at the gate',
  question: 'How long do acquisitions stay at the gate?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'acquisitionWait', [LABEL_DECISION]),
    legend: `${legendOf(LABEL_DECISION)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
