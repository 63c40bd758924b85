import { LABEL_OUTCOME, LABEL_PROFILE, LABEL_PROVIDER } from '../otel/names.ts'
import { NOTHING_SENT } from './look.ts'
import { grown, type Matchers, maxBy, noneOf, observations, series, sumBy } from './query.ts'

const ROWS = [LABEL_PROVIDER, LABEL_PROFILE]
const HOUR_SECONDS = 3600
const LEAST_LIFE_SECONDS = 1

/**
 * How long the access token of a profile lives, in seconds: the most that was left of it at any moment of the last hour.
 * A token that is never renewed shows what is left of it instead.
 */
export function tokenLife(matchers: Matchers<'tokenExpiry'> = {}): string {
  return `max_over_time((${maxBy(ROWS, series('tokenExpiry', matchers))} - time())[1h:15s])`
}

/**
 * Token requests of a profile during one life of its token, from the requests of the last hour.
 *
 * Of a life longer than an hour the hour itself: nobody should refresh twice in it. A profile without a known expiry
 * (a bypass with a token nobody knows) is taken for one that lives long.
 */
export function requestsPerTokenLife(refreshes: Matchers<'refreshDuration'> = {}, expiry: Matchers<'tokenExpiry'> = {}): string {
  const counter = observations('refreshDuration', { ...refreshes, [LABEL_OUTCOME]: noneOf(...NOTHING_SENT) })
  const requests = sumBy(ROWS, grown(counter, '1h'))
  const life = `clamp(${tokenLife(expiry)}, ${LEAST_LIFE_SECONDS}, ${HOUR_SECONDS}) / ${HOUR_SECONDS}`
  return `${requests} * on (${ROWS.join(', ')}) (${life}) or ${requests}`
}
