import { LABEL_CALLER, LABEL_POLICY, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toTracesOfRow } from '../links.ts'
import { grown, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_POLICY]

export const whoGoesPastTheGate = tablePanel({
  title: 'Bypasses',
  question: 'Who sends token requests past the gate?',
  rows,
  columns: [{ title: 'Bypasses', expression: sumBy(rows, grown(series('bypasses', selected('bypasses')), WHOLE_RANGE)), unit: 'count' }],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})
