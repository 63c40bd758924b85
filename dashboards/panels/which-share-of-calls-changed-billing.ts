import { toBoard } from '../links.ts'
import { stat } from '../panel-kinds.ts'
import { grown, observations, selected, series, share, sumBy, WHOLE_RANGE } from '../query.ts'

const changed = sumBy([], grown(series('billingChanges', selected('billingChanges')), WHOLE_RANGE))
// The GenAI convention's metric knows providers by other names, so it counts the calls of all of them.
const calls = sumBy([], grown(observations('genaiDuration'), WHOLE_RANGE))

export const whichShareOfCallsChangedBilling = stat({
  title: 'Calls that changed how they are paid',
  question: 'Which share of the calls was answered by a profile that is paid for otherwise than the one they were meant for?',
  query: { expression: share(changed, calls), legend: 'changed' },
  unit: 'share',
  links: [toBoard('Profile fallback', 'profileFallback')],
})
