import { ATTR_ERROR_TYPE, LABEL_MODEL, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { chosen, isPresent, legendOf, observations, RATE, selected, share, sumBy } from '../query.ts'

const rate = (failed: boolean) => {
  const matchers = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), ...(failed && { [ATTR_ERROR_TYPE]: isPresent }) })
  return sumBy([LABEL_PROVIDER], `rate(${observations('attemptDuration', matchers)}[${RATE}])`)
}

export const whichShareOfAttemptsFails = timeseries({
  title: 'Share of attempts that fail',
  question: 'Which share of the requests to each provider fails?',
  queries: [{ expression: share(rate(true), rate(false)), legend: legendOf(LABEL_PROVIDER) }],
  unit: 'share',
})
