import { LABEL_PLACE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { grown, legendOf, series, sumBy } from '../query.ts'

export const whichTelemetryWasDropped = timeseries({
  title: 'Telemetry dropped',
  question: 'Which telemetry was lost before it could be delivered?',
  queries: [{ expression: sumBy([LABEL_PLACE], grown(series('telemetryDropped'), '$__interval')), legend: legendOf(LABEL_PLACE) }],
  unit: 'count',
  bars: true,
  redFrom: 1,
})
