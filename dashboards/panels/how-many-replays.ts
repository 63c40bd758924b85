import { toBoard } from '../links.ts'
import { stat } from '../panel-kinds.ts'
import { grown, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'

export const howManyReplays = stat({
  title: 'Replays',
  question: 'How often was a refresh token sent that had already been rotated away?',
  query: { expression: `${sumBy([], grown(series('replays', selected('replays')), WHOLE_RANGE))} or vector(0)`, legend: 'replays' },
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})
