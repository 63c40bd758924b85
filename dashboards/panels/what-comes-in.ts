import { ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, observations, RATE, sumBy } from '../query.ts'

export const whatComesIn = timeseries({
  title: 'Inbound requests',
  question: 'Which requests come in over HTTP, and how are they answered?',
  queries: [
    {
      expression: sumBy([ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS], `rate(${observations('serverDuration')}[${RATE}])`),
      legend: legendOf(ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS),
    },
  ],
  unit: 'perSecond',
})
