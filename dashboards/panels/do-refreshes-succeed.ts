import { ATTR_ERROR_TYPE, LABEL_OUTCOME } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { stat } from '../panel-kinds.ts'
import { grown, isPresent, noneOf, observations, selected, share, sumBy, WHOLE_RANGE } from '../query.ts'
import { NOT_TRIED, REFRESH_OBJECTIVE } from '../theme.ts'

const tried = (failed: boolean) =>
  selected('refreshDuration', { [LABEL_OUTCOME]: noneOf(...NOT_TRIED), ...(failed && { [ATTR_ERROR_TYPE]: isPresent }) })
const all = sumBy([], grown(observations('refreshDuration', tried(false)), WHOLE_RANGE))
const failed = sumBy([], grown(observations('refreshDuration', tried(true)), WHOLE_RANGE))

export const doRefreshesSucceed = stat({
  title: `Refreshes that succeed (objective ${REFRESH_OBJECTIVE * 100} %)`,
  question: 'Which share of the refreshes brought a token that can be used?',
  query: { expression: `1 - (${share(failed, all)})`, legend: 'succeeded' },
  unit: 'share',
  redBelow: REFRESH_OBJECTIVE,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})
