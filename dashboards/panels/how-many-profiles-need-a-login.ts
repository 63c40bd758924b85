import { LABEL_PROFILE, LABEL_PROVIDER, LABEL_STATE } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { stat } from '../panel-kinds.ts'
import { is, maxBy, selected, series, sumBy } from '../query.ts'

const dead = series('profileState', selected('profileState', { [LABEL_STATE]: is('needs_login') }))

export const howManyProfilesNeedALogin = stat({
  title: 'Profiles that need a login',
  question: 'How many profiles can only be mended by signing in again?',
  query: { expression: sumBy([], maxBy([LABEL_PROVIDER, LABEL_PROFILE], dead)), legend: 'need a login' },
  unit: 'count',
  redFrom: 1,
  links: [toBoard('Profile fallback', 'profileFallback')],
})
