import { ATTR_ERROR_TYPE, LABEL_CALLER, LABEL_MODEL, LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toBoard, toTracesOfRow } from '../links.ts'
import { chosen, grown, isPresent, observations, selected, sumBy, sumOf, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_MODEL, LABEL_PROFILE]
const matchers = (failed: boolean) =>
  selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), ...(failed && { [ATTR_ERROR_TYPE]: isPresent }) })
const count = (failed: boolean) => sumBy(rows, grown(observations('attemptDuration', matchers(failed)), WHOLE_RANGE))
const seconds = sumBy(rows, grown(sumOf('attemptDuration', matchers(false)), WHOLE_RANGE))

export const whichCallersCall = tablePanel({
  title: 'Callers',
  question: 'Which callers call which model, by which profile, and how does it end?',
  rows,
  columns: [
    { title: 'Attempts', expression: count(false), unit: 'count' },
    { title: 'Failed', expression: count(true), unit: 'count' },
    { title: 'Mean duration', expression: `${seconds} / (${count(false)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: {
    [LABEL_CALLER]: [toTracesOfRow({ reason: false }), toBoard('Refreshes of this caller', 'whoRefreshes', { caller: 'caller' })],
  },
})
