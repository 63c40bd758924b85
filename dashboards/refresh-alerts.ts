import {
  ATTR_ERROR_TYPE,
  LABEL_CALLER,
  LABEL_OPERATION,
  LABEL_OUTCOME,
  LABEL_POLICY,
  LABEL_PROFILE,
  LABEL_PROVIDER,
  LABEL_REASON,
  LABEL_STATE,
} from '../otel/semconv.ts'
import { type Alert, label, type RecordingRule, VALUE } from './alert.ts'
import { bucketsOf, grown, is, isAbsent, isNot, isPresent, type Matchers, maxBy, observations, series, sumBy } from './query.ts'
import { refreshesPerTokenLife, tokenLifePanelQuery } from './token-life.ts'

const PROFILE = [LABEL_PROVIDER, LABEL_PROFILE]
const ON_PROFILE = `on (${PROFILE.join(', ')})`
const TOKEN_LIFE = 'gatewatch:token_life:seconds'
const PER_LIFE = 'gatewatch:refreshes:per_token_life'
/** The same token is asked for so often that callers must be fighting over it. */
const STORM_FROM = 5
/** A token that lives this long has no business being refreshed within a minute. */
const LONG_LIFE_SECONDS = 600
const YOUNG_SECONDS = 60
/** So long before its end a token should have been refreshed, if a caller asks for it. */
const ENDS_SOON_SECONDS = 300

const codex = { [LABEL_PROVIDER]: is('openai-codex') }
const work = { ...codex, [LABEL_PROFILE]: is('openai-codex:work') }
const workLabels = { [LABEL_PROVIDER]: 'openai-codex', [LABEL_PROFILE]: 'openai-codex:work' }
const plugin = { [LABEL_CALLER]: is('plugins/quick.js#refresh') }
const signOut = { [LABEL_CALLER]: is('src/session.js#signOut') }

export const REFRESH_RULES: readonly RecordingRule[] = [
  { name: TOKEN_LIFE, expression: tokenLifePanelQuery() },
  { name: PER_LIFE, expression: refreshesPerTokenLife() },
]

export const REFRESH_ALERTS: readonly Alert[] = [
  {
    name: 'GatewatchProfileNeedsLogin',
    // A scrape that misses a moment must not end the alert.
    expression: `${maxBy(PROFILE, `max_over_time(${series('profileState', { [LABEL_STATE]: is('needs_login') })}[2m])`)} == 1`,
    for: '1m',
    severity: 'critical',
    summary: 'A profile can only be mended by signing in again.',
    description: `The login of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} is dead; no refresh is tried until a user signs in.`,
    board: 'profileFallback',
    chooses: PROFILE,
    proof: {
      series: { [series('profileState', { ...work, [LABEL_STATE]: is('needs_login') })]: '0x9 1x9 0x20' },
      notYet: 10,
      fires: 12,
      resolved: 24,
      labels: workLabels,
    },
  },
  {
    name: 'GatewatchBypass',
    expression: `${sumBy([LABEL_PROVIDER, LABEL_CALLER, LABEL_POLICY], grown(series('bypasses'), '10m'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'A token request went past the refresh gate.',
    description: `${label(LABEL_CALLER)} sent ${VALUE} token request(s) to ${label(LABEL_PROVIDER)} past the gate in the last 10 minutes (policy: ${label(LABEL_POLICY)}).`,
    board: 'whoRefreshes',
    chooses: [LABEL_PROVIDER, LABEL_CALLER],
    proof: {
      series: { [series('bypasses', { ...codex, ...plugin, [LABEL_POLICY]: is('observe') })]: '_x10 1x40' },
      notYet: 9,
      fires: 11,
      resolved: 22,
      labels: { [LABEL_PROVIDER]: 'openai-codex', [LABEL_CALLER]: 'plugins/quick.js#refresh', [LABEL_POLICY]: 'observe' },
      value: '1',
    },
  },
  {
    name: 'GatewatchReplay',
    expression: `${sumBy([...PROFILE, LABEL_CALLER], grown(series('replays'), '10m'))} > 0`,
    for: '0m',
    severity: 'critical',
    summary: 'A refresh token was sent again after it had been rotated away; the provider may revoke the login.',
    description: `${label(LABEL_CALLER)} sent a refresh token of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} that had already been rotated away (${VALUE} in the last 10 minutes).`,
    board: 'whoRefreshes',
    chooses: [...PROFILE, LABEL_CALLER],
    proof: {
      series: { [series('replays', { ...work, ...plugin })]: '_x10 2x40' },
      notYet: 9,
      fires: 11,
      resolved: 22,
      labels: { ...workLabels, [LABEL_CALLER]: 'plugins/quick.js#refresh' },
      value: '2',
    },
  },
  {
    name: 'GatewatchRefreshStorm',
    expression: `${PER_LIFE} >= ${STORM_FROM}`,
    for: '5m',
    severity: 'warning',
    summary: 'The token of a profile is refreshed far more often than it needs.',
    description: `Profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} was refreshed ${VALUE} times in one life of its token (of a long life: in one hour); once is enough.`,
    board: 'whoRefreshes',
    chooses: PROFILE,
    proof: {
      series: {
        [observations('refreshDuration', { ...work, [LABEL_REASON]: is('forced'), [LABEL_OUTCOME]: is('rotated') })]: '_x10 8x100',
      },
      notYet: 13,
      fires: 16,
      resolved: 72,
      labels: workLabels,
      value: '8',
    },
  },
  {
    name: 'GatewatchRefreshRightAfterLogin',
    expression: `${sumBy([...PROFILE, LABEL_REASON], grown(bucketsOf('tokenAge', {}, YOUNG_SECONDS), '15m'))} > 0 unless ${ON_PROFILE} ${TOKEN_LIFE} < ${LONG_LIFE_SECONDS}`,
    for: '0m',
    severity: 'warning',
    summary: 'A token was refreshed within a minute of being issued.',
    description: `Profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} refreshed a token younger than ${YOUNG_SECONDS} s (reason: ${label(LABEL_REASON)}, ${VALUE} in the last 15 minutes).`,
    board: 'whoRefreshes',
    chooses: PROFILE,
    proof: {
      series: {
        [bucketsOf('tokenAge', { ...work, [LABEL_REASON]: is('forced') }).replace('}', ', le="60.0"}')]: '_x10 1x40',
        [bucketsOf('tokenAge', { ...work, [LABEL_REASON]: is('forced') }).replace('}', ', le="300.0"}')]: '_x10 1x40',
        // Tokens that live for seconds are refreshed young; that is no fault.
        [bucketsOf('tokenAge', { ...codex, [LABEL_PROFILE]: is('openai-codex:short'), [LABEL_REASON]: is('expiring') }).replace(
          '}',
          ', le="60.0"}',
        )]: '_x10 1x40',
        [series('tokenExpiry', { ...codex, [LABEL_PROFILE]: is('openai-codex:short') })]: '30+60x60',
      },
      notYet: 9,
      fires: 12,
      resolved: 27,
      labels: { ...workLabels, [LABEL_REASON]: 'forced' },
      value: '1',
    },
  },
  {
    name: 'GatewatchRevocationFailed',
    // A login that fails has a person in front of it; who signs out has turned away.
    expression: `${sumBy([LABEL_PROVIDER, LABEL_CALLER], grown(revocations({ [LABEL_OUTCOME]: isNot('cancelled'), [ATTR_ERROR_TYPE]: isPresent }), '15m'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'A login was to be revoked, and the provider did not take it back; its tokens may still work.',
    description: `${label(LABEL_CALLER)} tried to revoke a login at ${label(LABEL_PROVIDER)}, ${VALUE} time(s) in vain in the last 15 minutes.`,
    board: 'whoRefreshes',
    chooses: [LABEL_PROVIDER, LABEL_CALLER],
    proof: {
      series: {
        [revocations({ ...codex, ...signOut, [LABEL_OUTCOME]: is('unavailable'), [ATTR_ERROR_TYPE]: is('GW_REVOKE_FAILED') })]: '_x10 1x40',
        // One that succeeded, and one that its caller aborted.
        [revocations({ ...codex, [LABEL_CALLER]: is('src/other.js#signOut'), [LABEL_OUTCOME]: is('ok') })]: '_x10 3x40',
        [revocations({
          ...codex,
          [LABEL_CALLER]: is('src/other.js#signOut'),
          [LABEL_OUTCOME]: is('cancelled'),
          [ATTR_ERROR_TYPE]: is('AbortError'),
        })]: '_x10 1x40',
      },
      notYet: 9,
      fires: 12,
      resolved: 27,
      labels: { [LABEL_PROVIDER]: 'openai-codex', [LABEL_CALLER]: 'src/session.js#signOut' },
      value: '1',
    },
  },
  {
    name: 'GatewatchTokenNotRefreshed',
    expression: `${maxBy(PROFILE, series('tokenExpiry'))} - time() < ${ENDS_SOON_SECONDS} and ${ON_PROFILE} ${refreshesOf(true)} > 0 unless ${ON_PROFILE} ${refreshesOf(false)} > 0`,
    for: '2m',
    severity: 'critical',
    summary: 'A token ends soon, and every try to refresh it failed.',
    description: `The access token of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} ends in less than ${ENDS_SOON_SECONDS / 60} minutes, and no refresh succeeded in the last 15 minutes.`,
    board: 'whoRefreshes',
    chooses: PROFILE,
    proof: {
      series: {
        [series('tokenExpiry', work)]: '1500x24 6000x30',
        [observations('refreshDuration', { ...work, [LABEL_OUTCOME]: is('timeout'), [ATTR_ERROR_TYPE]: is('timeout') })]: '_x10 1+1x6 7x40',
        [observations('refreshDuration', { ...work, [LABEL_OUTCOME]: is('rotated') })]: '_x25 1x30',
      },
      notYet: 22,
      fires: 24,
      resolved: 26,
      labels: workLabels,
    },
  },
]

function refreshesOf(failed: boolean): string {
  return sumBy(PROFILE, grown(observations('refreshDuration', { [ATTR_ERROR_TYPE]: failed ? isPresent : isAbsent }), '15m'))
}

function revocations(matchers: Matchers<'operationDuration'>): string {
  return observations('operationDuration', { [LABEL_OPERATION]: is('revoke'), ...matchers })
}
