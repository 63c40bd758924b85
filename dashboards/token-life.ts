import { LABEL_OUTCOME, LABEL_PROFILE, LABEL_PROVIDER } from '../otel/semconv.ts'
import { grown, type Matchers, maxBy, observations, oneOf, series, sumBy } from './query.ts'
import { REFRESHED } from './theme.ts'

const ROWS = [LABEL_PROVIDER, LABEL_PROFILE]
const HOUR_SECONDS = 3600
const LEAST_LIFE_SECONDS = 1

/**
 * How long the access token of a profile lives, in seconds: the most that was left of it at any moment of the last hour.
 * A token that is never renewed shows what is left of it instead.
 */
export function tokenLifePanelQuery(matchers: Matchers<'tokenExpiry'> = {}): string {
  return `max_over_time((${maxBy(ROWS, series('tokenExpiry', matchers))} - time())[1h:15s])`
}

/**
 * How often the token of a profile was refreshed during one life of it, from the refreshes of the last hour.
 *
 * Only refreshes that happened: a token endpoint that is down is tried again and again, and no token changes by it. Of a
 * life longer than an hour the hour itself: one refresh in it is enough. A profile without a known expiry (a bypass with an
 * unknown token) is taken for one that lives long.
 */
export function refreshesPerTokenLife(refreshes: Matchers<'refreshDuration'> = {}, expiry: Matchers<'tokenExpiry'> = {}): string {
  const counter = observations('refreshDuration', { ...refreshes, [LABEL_OUTCOME]: oneOf(...REFRESHED) })
  const happened = sumBy(ROWS, grown(counter, '1h'))
  const life = `clamp(${tokenLifePanelQuery(expiry)}, ${LEAST_LIFE_SECONDS}, ${HOUR_SECONDS}) / ${HOUR_SECONDS}`
  return `${happened} * on (${ROWS.join(', ')}) (${life}) or ${happened}`
}
