import { LABEL_PROFILE, LABEL_STATE } from '../../otel/semconv.ts'
import { timeseries } from '../panel-kinds.ts'
import { legendOf, maxBy, oneOf, selected, series } from '../query.ts'
import { STATE_COLOURS } from '../theme.ts'

const unusable = series('profileState', selected('profileState', { [LABEL_STATE]: oneOf('resting', 'needs_login') }))

export const whichProfilesRest = timeseries({
  title: 'Time out of service',
  question: 'Which profiles rest after failures or wait for a login, for which share of the time?',
  // A rest may be shorter than a step; its share of the step still shows.
  queries: [
    {
      expression: `${maxBy([LABEL_PROFILE, LABEL_STATE], `avg_over_time(${unusable}[$__interval])`)} > 0`,
      legend: legendOf(LABEL_PROFILE, LABEL_STATE),
    },
  ],
  unit: 'share',
  bars: true,
  colours: { resting: STATE_COLOURS.resting, needs_login: STATE_COLOURS.needs_login },
})
