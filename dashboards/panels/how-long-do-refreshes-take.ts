import { LABEL_VIA } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, quantile } from '../query.ts'

export const howLongDoRefreshesTake = timeseries({
  title: 'Duration of refreshes',
  question: 'How long do refreshes take, from asking for the lease (or sending, past the gate) to their end?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'refreshDuration', [LABEL_VIA]),
    legend: `${legendOf(LABEL_VIA)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
