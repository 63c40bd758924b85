import {
  ATTR_ERROR_TYPE,
  LABEL_CALLER,
  LABEL_FROM,
  LABEL_LABEL,
  LABEL_OPERATION,
  LABEL_OUTCOME,
  LABEL_PLACE,
  LABEL_POLICY,
  LABEL_PROFILE,
  LABEL_PROVIDER,
  LABEL_REASON,
  LABEL_STATE,
  LABEL_TO,
  LABEL_VIA,
} from '../otel/semconv.ts'
import type { ProfileState } from '../src/domain/enums.ts'
import type { Alert } from './alert.ts'
import { bucketsOf, is, observations, series } from './query.ts'
import { GATEWAY_JOB } from './scrape-jobs.ts'

/** An alert that fires at one moment of an outage. */
export interface Firing {
  readonly alert: Alert['name']
  /** Labels that choose one of several rules of that name. */
  readonly rule?: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** What `{{ $value | humanize }}` becomes. */
  readonly value?: string
}

/** Something around a gateway breaks and is whole again: at each moment the alerts named here fire, and no other. */
export interface Outage {
  readonly name: string
  /** Series as `promtool test rules` writes them, a value a minute. */
  readonly series: Readonly<Record<string, string>>
  /** By the minute. */
  readonly looks: Readonly<Record<number, readonly Firing[]>>
}

const scraped = { job: GATEWAY_JOB, instance: 'gateway:8089' }
const codex = { [LABEL_PROVIDER]: is('openai-codex') }
const work = { ...codex, [LABEL_PROFILE]: is('openai-codex:work') }
const ofWork = { [LABEL_PROVIDER]: 'openai-codex', [LABEL_PROFILE]: 'openai-codex:work' }
const toKey = { [LABEL_PROVIDER]: 'openai-codex', [LABEL_FROM]: 'openai-codex:work', [LABEL_TO]: 'openai:default' }

const UP = `up{job="${scraped.job}", instance="${scraped.instance}"}`

const INFO = `${series('info')}{job="${scraped.job}", instance="${scraped.instance}"}`

/** A series that is scraped from the gateway. */
function at(selector: string): string {
  return selector.replace('}', `, job="${scraped.job}", instance="${scraped.instance}"}`)
}

function state(name: ProfileState): string {
  return at(series('profileState', { ...work, [LABEL_STATE]: is(name) }))
}

function keyState(name: ProfileState): string {
  return at(series('profileState', { [LABEL_PROVIDER]: is('openai'), [LABEL_PROFILE]: is('openai:default'), [LABEL_STATE]: is(name) }))
}

/** Whether a call could use the login, or the key. */
const SERVES = at(series('profileServes', work))
const KEY_SERVES = at(series('profileServes', { [LABEL_PROVIDER]: is('openai'), [LABEL_PROFILE]: is('openai:default') }))

function refreshes(outcome: string, errorType?: string): string {
  return at(
    observations('refreshDuration', {
      ...work,
      [LABEL_VIA]: is('gate'),
      [LABEL_OUTCOME]: is(outcome),
      ...(errorType !== undefined && { [ATTR_ERROR_TYPE]: is(errorType) }),
    }),
  )
}

function fallbacks(reason: string): string {
  return at(
    series('fallbacks', {
      ...codex,
      [LABEL_FROM]: is(toKey[LABEL_FROM]),
      [LABEL_TO]: is(toKey[LABEL_TO]),
      [LABEL_REASON]: is(reason),
    }),
  )
}

function billingChanges(reason: string): string {
  return fallbacks(reason).replace(series('fallbacks'), series('billingChanges'))
}

/** One of each counter that an alert watches, as a gateway has them that has met everything once. */
const COUNTERS: readonly string[] = [
  fallbacks('rate_limit'),
  billingChanges('rate_limit'),
  refreshes('rotated'),
  refreshes('unavailable', 'unavailable'),
  refreshes('contention', 'GW_LEASE_TIMEOUT'),
  series('bypasses', { ...codex, [LABEL_CALLER]: is('plugins/quick.js#refresh'), [LABEL_POLICY]: is('observe') }),
  series('replays', { ...work, [LABEL_CALLER]: is('plugins/quick.js#refresh') }),
  series('leasesLost', work),
  series('storeErrors', { [LABEL_OPERATION]: is('write'), [ATTR_ERROR_TYPE]: is('ENOSPC') }),
  series('telemetryDropped', { [LABEL_PLACE]: is('span_queue') }),
  series('labelOverflows', { [LABEL_LABEL]: is('caller') }),
  observations('operationDuration', {
    ...codex,
    [LABEL_CALLER]: is('src/session.js#signOut'),
    [LABEL_OPERATION]: is('revoke'),
    [LABEL_OUTCOME]: is('unavailable'),
    [ATTR_ERROR_TYPE]: is('GW_REVOKE_FAILED'),
  }),
  bucketsOf('tokenAge', { ...work, [LABEL_REASON]: is('forced') }).replace('}', ', le="60.0"}'),
].map(counter => (counter.includes('instance=') ? counter : at(counter)))

function burn(long: string, short: string): Firing {
  return { alert: 'GatewatchRefreshFailureBurn', rule: { long, short }, labels: { [LABEL_PROVIDER]: 'openai-codex' } }
}

/**
 * Outages with their recovery. The proof of each alert shows its own fault and its own end; these show what the others do
 * meanwhile: an alert that fires for another fault is one that people learn to overlook.
 */
export const OUTAGES: readonly Outage[] = [
  {
    // The token of an hour should be refreshed in minute 58 and is tried each minute until 103; the key serves meanwhile.
    name: 'the token endpoint is down for three quarters of an hour',
    series: {
      [UP]: '1x400',
      [INFO]: '1x400',
      [series('tokenExpiry', work)]: '3600x103 9840x57 13440x240',
      [state('ready')]: '1x57 0x45 1x296',
      [state('expired')]: '0x59 1x43 0x296',
      [state('resting')]: '0x400',
      [keyState('ready')]: '1x400',
      [SERVES]: '1x59 0x43 1x296',
      [KEY_SERVES]: '1x400',
      [refreshes('rotated')]: '1x103 2x57 3x240',
      [refreshes('unavailable', 'unavailable')]: '_x58 1+1x45 46x300',
      [fallbacks('unavailable')]: '_x60 1+1x43 44x300',
      [billingChanges('unavailable')]: '_x60 1+1x43 44x300',
    },
    looks: {
      50: [],
      // Until the first failure is a fault: one alone is mended by the next.
      58: [],
      // The token has ended and was not refreshed: of its provider no profile is left, and calls went on to the key.
      70: [
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        burn('1h', '5m'),
        { alert: 'GatewatchTokenNotRefreshed', labels: ofWork },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '10' },
      ],
      90: [
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        burn('1h', '5m'),
        burn('6h', '30m'),
        { alert: 'GatewatchTokenNotRefreshed', labels: ofWork },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '10' },
        { alert: 'GatewatchSustainedFallback', labels: toKey, value: '5' },
      ],
      // It is over. What remains are the burns whose windows reach back into the outage; no refresh is too many.
      125: [burn('6h', '30m'), burn('1d', '2h')],
      160: [burn('1d', '2h')],
    },
  },
  {
    // The gateway goes on working; Prometheus cannot reach it. What the counters hold was counted before.
    name: 'the gateway cannot be scraped for twenty minutes',
    series: {
      [UP]: '1x119 0x19 1x400',
      [INFO]: '1x119 stale _x18 1x400',
      ...Object.fromEntries(COUNTERS.map(counter => [counter, '3x119 stale _x18 3x400'])),
      [refreshes('rotated')]: '9000x119 stale _x18 9000x400',
      [state('ready')]: '1x119 stale _x18 1x400',
      [keyState('ready')]: '1x119 stale _x18 1x400',
      [SERVES]: '1x119 stale _x18 1x400',
      [KEY_SERVES]: '1x119 stale _x18 1x400',
    },
    looks: {
      119: [],
      127: [{ alert: 'GatewatchTargetDown', labels: scraped }],
      ...Object.fromEntries([141, 145, 150, 159, 180, 201].map(minute => [minute, []])),
    },
  },
  {
    // Every counter begins again from nothing; it is there again with the first event, an hour later.
    name: 'the gateway is started again',
    series: {
      [UP]: '1x119 0x1 1x400',
      [INFO]: '1x119 stale _x1 1x400',
      ...Object.fromEntries(COUNTERS.map(counter => [counter, '3x119 stale _x300'])),
      [refreshes('rotated')]: '9000x119 stale _x1 1x400',
      [state('ready')]: '1x119 stale _x1 1x400',
      [keyState('ready')]: '1x119 stale _x1 1x400',
      [SERVES]: '1x119 stale _x1 1x400',
      [KEY_SERVES]: '1x119 stale _x1 1x400',
      [at(series('bypasses', { ...codex, [LABEL_CALLER]: is('plugins/quick.js#refresh'), [LABEL_POLICY]: is('observe') }))]:
        '3x119 stale _x60 1x300',
    },
    looks: {
      ...Object.fromEntries([119, 120, 122, 125, 131, 135, 150].map(minute => [minute, []])),
      183: [
        {
          alert: 'GatewatchBypass',
          labels: { [LABEL_PROVIDER]: 'openai-codex', [LABEL_CALLER]: 'plugins/quick.js#refresh', [LABEL_POLICY]: 'observe' },
          value: '1',
        },
      ],
      195: [],
    },
  },
  {
    // For an hour each refresh is throttled and its caller goes on with the token it has; then the tokens have ended.
    name: 'the token endpoint throttles, at first callers that have a token',
    series: {
      [UP]: '1x300',
      [INFO]: '1x300',
      [state('ready')]: '1x300',
      [SERVES]: '1x300',
      [refreshes('rotated')]: '1x300',
      [refreshes('throttled')]: '_x60 1+1x59 60x180',
      [refreshes('throttled', 'throttled')]: '_x120 1+1x29 30x150',
    },
    looks: {
      60: [],
      100: [],
      119: [],
      134: [burn('1h', '5m')],
    },
  },
  {
    // Every call of the login is refused and goes on to the key, until the provider serves again.
    name: 'the provider refuses calls for half an hour',
    series: {
      [UP]: '1x200',
      [INFO]: '1x200',
      [state('ready')]: '1x29 0x30 1x140',
      [state('resting')]: '0x29 1x30 0x140',
      [keyState('ready')]: '1x200',
      [SERVES]: '1x29 0x30 1x140',
      [KEY_SERVES]: '1x200',
      [refreshes('rotated')]: '1x200',
      [fallbacks('overloaded')]: '_x30 1+1x29 30x140',
      [billingChanges('overloaded')]: '_x30 1+1x29 30x140',
    },
    looks: {
      29: [],
      // Of its provider no profile is left; of the other the key is.
      40: [
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '10' },
      ],
      55: [
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '10' },
        { alert: 'GatewatchSustainedFallback', labels: toKey, value: '5' },
      ],
      75: [],
    },
  },
  {
    // The refresh token is refused for good; in minute 60 a new login serves again.
    name: 'a login dies, and a new one serves',
    series: {
      [UP]: '1x200',
      [INFO]: '1x200',
      [series('tokenExpiry', work)]: '1500x59 7200x140',
      [state('ready')]: '1x24 0x35 1x140',
      [state('needs_login')]: '0x24 1x35 0x140',
      [keyState('ready')]: '1x200',
      [SERVES]: '1x24 0x35 1x140',
      [KEY_SERVES]: '1x200',
      [refreshes('rotated')]: '1x200',
      [refreshes('invalidated', 'invalidated')]: '_x25 1x175',
      [fallbacks('needs_login')]: '_x25 1+1x34 35x140',
      [billingChanges('needs_login')]: '_x25 1+1x34 35x140',
    },
    looks: {
      24: [],
      30: [
        { alert: 'GatewatchProfileNeedsLogin', labels: ofWork },
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        { alert: 'GatewatchTokenNotRefreshed', labels: ofWork },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '6' },
      ],
      50: [
        { alert: 'GatewatchProfileNeedsLogin', labels: ofWork },
        { alert: 'GatewatchAllProfilesResting', labels: { [LABEL_PROVIDER]: 'openai-codex', instance: scraped.instance } },
        { alert: 'GatewatchSustainedFallback', labels: toKey, value: '5' },
        { alert: 'GatewatchBillingSwitched', labels: toKey, value: '10' },
      ],
      76: [],
    },
  },
]
