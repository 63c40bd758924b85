import { ATTR_ERROR_TYPE, LABEL_CALLER, LABEL_REASON, LABEL_VIA } from '../../otel/semconv.ts'
import { toBoard, toTracesOfRow } from '../links.ts'
import { grown, isPresent, observations, selected, sumBy, sumOf, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_CALLER, LABEL_REASON, LABEL_VIA]
const count = (failed: boolean) =>
  sumBy(
    rows,
    grown(observations('refreshDuration', selected('refreshDuration', failed ? { [ATTR_ERROR_TYPE]: isPresent } : {})), WHOLE_RANGE),
  )
const seconds = sumBy(rows, grown(sumOf('refreshDuration', selected('refreshDuration')), WHOLE_RANGE))

export const whichCallersRefresh = tablePanel({
  title: 'Callers',
  question: 'Which callers refresh, how often, for which reason, by which door, and how does it end?',
  rows,
  columns: [
    { title: 'Refreshes', expression: count(false), unit: 'count' },
    { title: 'Failed', expression: count(true), unit: 'count' },
    { title: 'Mean duration', expression: `${seconds} / (${count(false)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: {
    [LABEL_CALLER]: [toTracesOfRow({ reason: true }), toBoard('Calls of this caller', 'providerCalls', { caller: 'caller' })],
  },
})
