import { LABEL_MODEL, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, legendOf, quantile, selected } from '../query.ts'

const matchers = selected('timeToFirstChunk', { [LABEL_MODEL]: chosen(LABEL_MODEL) })

export const howSoonDoesTheFirstChunkCome = timeseries({
  title: 'Time to the first chunk',
  question: 'How soon does the first chunk of a good answer come?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'timeToFirstChunk', [LABEL_PROVIDER, LABEL_MODEL], matchers),
    legend: `${legendOf(LABEL_PROVIDER, LABEL_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
