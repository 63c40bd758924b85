import { LABEL_MODEL, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, legendOf, quantile, selected } from '../query.ts'

const matchers = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL) })

export const howLongDoAttemptsTake = timeseries({
  title: 'Duration of attempts',
  question: 'How long do requests take, from sending them to the last byte of the answer?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'attemptDuration', [LABEL_PROVIDER, LABEL_MODEL], matchers),
    legend: `${legendOf(LABEL_PROVIDER, LABEL_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
