import { LABEL_PROFILE, LABEL_PROVIDER, LABEL_STATE } from '../../otel/semconv.ts'
import { PROFILE_STATES } from '../../src/domain/enums.ts'
import { toBoard } from '../links.ts'
import { stateTimeline } from '../panel-kinds.ts'
import { is, legendOf, maxBy, selected, series } from '../query.ts'
import { STATE_COLOURS } from '../theme.ts'

/** A state is a label; a timeline wants one number a profile. With several gateways the worst state wins. */
const expression = maxBy(
  [LABEL_PROVIDER, LABEL_PROFILE],
  PROFILE_STATES.map(
    (state, number) => `(${series('profileState', selected('profileState', { [LABEL_STATE]: is(state) }))} == 1) * 0 + ${number}`,
  ).join(' or '),
)

export const whatCanEveryProfileDo = stateTimeline({
  title: 'State of every profile',
  question: 'What can every profile do right now, and what could it do before?',
  queries: [{ expression, legend: legendOf(LABEL_PROFILE) }],
  words: Object.fromEntries(PROFILE_STATES.map((state, number) => [String(number), { text: state, color: STATE_COLOURS[state] }])),
  links: [toBoard('Profile fallback', 'profileFallback')],
})
