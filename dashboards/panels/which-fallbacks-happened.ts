import { LABEL_FROM, LABEL_PROVIDER, LABEL_REASON, LABEL_TO } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { grown, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_PROVIDER, LABEL_FROM, LABEL_TO, LABEL_REASON]

export const whichFallbacksHappened = tablePanel({
  title: 'Fallbacks',
  question: 'Which fallbacks happened, and why?',
  rows,
  columns: [{ title: 'Fallbacks', expression: sumBy(rows, grown(series('fallbacks', selected('fallbacks')), WHOLE_RANGE)), unit: 'count' }],
  cellLinks: { [LABEL_FROM]: [toBoard('Refreshes of this profile', 'whoRefreshes', { profile: 'from' })] },
})
