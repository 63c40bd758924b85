import { LABEL_CALLER, LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toTracesOfRow } from '../links.ts'
import { grown, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_PROFILE]

export const whoReplaysAToken = tablePanel({
  title: 'Replays',
  question: 'Who sends a refresh token that had already been rotated away?',
  rows,
  columns: [{ title: 'Replays', expression: sumBy(rows, grown(series('replays', selected('replays')), WHOLE_RANGE)), unit: 'count' }],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})
