import { GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL } from '../../otel/genai-semconv.ts'
import { LABEL_MODEL } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, legendOf, quantile } from '../query.ts'

export const howDoCallersSeeTheirCalls = timeseries({
  title: 'Duration of calls, over all attempts',
  question: 'How long does a call take as its caller sees it, refreshes and fallbacks included?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'genaiDuration', [GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL], {
      [GENAI_REQUEST_MODEL]: chosen(LABEL_MODEL),
    }),
    legend: `${legendOf(GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})
