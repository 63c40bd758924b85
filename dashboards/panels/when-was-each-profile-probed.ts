import { LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, selected, series } from '../query.ts'

export const whenWasEachProfileProbed = timeseries({
  title: 'Age of the last probe',
  question: 'How long ago was each profile probed?',
  // Of several gateways the one that probed last knows best.
  queries: [
    {
      expression: `min by (${LABEL_PROVIDER}, ${LABEL_PROFILE}) (${series('probeAge', selected('probeAge'))})`,
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'seconds',
})
