import { ATTR_ERROR_TYPE, LABEL_CALLER, LABEL_OPERATION, LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toTracesOfRow } from '../links.ts'
import { chosenOrAbsent, grown, isPresent, observations, selected, sumBy, sumOf, WHOLE_RANGE } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_OPERATION, LABEL_PROVIDER, LABEL_CALLER]
// A host may leave open for which profile a user signs in.
const shown = selected('operationDuration', { [LABEL_PROFILE]: chosenOrAbsent(LABEL_PROFILE) })
const count = (matchers: typeof shown) => sumBy(rows, grown(observations('operationDuration', matchers), WHOLE_RANGE))
const seconds = sumBy(rows, grown(sumOf('operationDuration', shown), WHOLE_RANGE))

export const whoSignsIn = tablePanel({
  title: 'Logins and revocations',
  question: 'Who signs in and out, at which provider, how often, how long does it take, and how much of it fails?',
  rows,
  columns: [
    { title: 'Operations', expression: count(shown), unit: 'count' },
    { title: 'Failed', expression: count({ ...shown, [ATTR_ERROR_TYPE]: isPresent }), unit: 'count' },
    { title: 'Mean duration', expression: `${seconds} / (${count(shown)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})
