import { toBoard } from '../links.ts'
import { stat } from '../panel-kinds.ts'
import { grown, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'

export const howManyBypasses = stat({
  title: 'Bypasses',
  question: 'How many token requests went past the gate?',
  query: { expression: `${sumBy([], grown(series('bypasses', selected('bypasses')), WHOLE_RANGE))} or vector(0)`, legend: 'bypasses' },
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Who refreshes', 'whoRefreshes')],
})
