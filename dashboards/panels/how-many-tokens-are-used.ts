import { GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE } from '../../otel/genai-semconv.ts'
import { LABEL_MODEL } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, legendOf, RATE, sumBy, sumOf } from '../query.ts'

const tokens = sumOf('genaiTokens', { [GENAI_REQUEST_MODEL]: chosen(LABEL_MODEL) })

export const howManyTokensAreUsed = timeseries({
  title: 'Tokens of models by kind, a second',
  question: 'How many tokens are read and written, by which model?',
  queries: [
    {
      expression: sumBy([GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE], `rate(${tokens}[${RATE}])`),
      legend: legendOf(GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE),
    },
  ],
  unit: 'tokens',
})
