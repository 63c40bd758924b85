import { LABEL_CREDENTIAL_TYPE, LABEL_PROFILE, LABEL_PROVIDER, LABEL_STATE } from '../otel/semconv.ts'
import { PROFILE_STATES } from '../src/domain/enums.ts'
import { toBoard } from './links.ts'
import { NOT_REPORTED } from './panel.ts'
import { stat, stateTimeline } from './panel-kinds.ts'
import { grown, is, isPresent, legendOf, maxBy, observations, selected, series, share, sumBy, WHOLE_RANGE } from './query.ts'
import { STATE_COLOURS } from './theme.ts'

/** A state is a label; a timeline wants one number a profile. With several gateways the worst state wins. */
const worstState = maxBy(
  [LABEL_PROVIDER, LABEL_PROFILE],
  PROFILE_STATES.map(
    (state, number) => `(${series('profileState', selected('profileState', { [LABEL_STATE]: is(state) }))} == 1) * 0 + ${number}`,
  ).join(' or '),
)

export const whatCanEveryProfileDo = stateTimeline({
  title: 'State of every profile',
  question: 'What can every profile do right now, and what could it do before?',
  queries: [{ expression: worstState, legend: legendOf(LABEL_PROFILE) }],
  empty: NOT_REPORTED,
  words: Object.fromEntries(PROFILE_STATES.map((state, number) => [String(number), { text: state, color: STATE_COLOURS[state] }])),
  links: [toBoard('Profile fallback', 'profileFallback')],
})

const changed = sumBy([], grown(series('billingChanges', selected('billingChanges')), WHOLE_RANGE))
// The GenAI convention's metric knows providers by other names, so it counts the calls of all of them.
const calls = sumBy([], grown(observations('genaiDuration'), WHOLE_RANGE))
// An application that wraps its calls and notes no fallback says nothing of how they are paid: a call with a known credential does.
const withCredential = observations('attemptDuration', { [LABEL_CREDENTIAL_TYPE]: isPresent })
const saysBilling = [withCredential, series('fallbacks')].map(counter => sumBy([], grown(counter, WHOLE_RANGE))).join(' or ')

export const whichShareOfCallsChangedBilling = stat({
  title: 'Calls that changed how they are paid',
  question: 'Which share of the calls was answered by a profile that is paid for otherwise than the one they were meant for?',
  query: { expression: `${share(changed, calls)} and (${saysBilling})`, legend: 'changed' },
  empty: NOT_REPORTED,
  unit: 'share',
  links: [toBoard('Profile fallback', 'profileFallback')],
})
