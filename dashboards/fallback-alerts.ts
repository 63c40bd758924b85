import { LABEL_FROM, LABEL_PROFILE, LABEL_PROVIDER, LABEL_REASON, LABEL_TO } from '../otel/semconv.ts'
import { type Alert, label, VALUE } from './alert.ts'
import { grown, is, maxBy, series, sumBy } from './query.ts'

const ROW = [LABEL_PROVIDER, LABEL_FROM, LABEL_TO]
const fallback = {
  [LABEL_PROVIDER]: is('openai-codex'),
  [LABEL_FROM]: is('openai-codex:work'),
  [LABEL_TO]: is('openai:default'),
  [LABEL_REASON]: is('rate_limit'),
}
const fallbackLabels = { [LABEL_PROVIDER]: 'openai-codex', [LABEL_FROM]: 'openai-codex:work', [LABEL_TO]: 'openai:default' }
const servesOf = (profile: string) =>
  withInstance(series('profileServes', { [LABEL_PROVIDER]: is('openai-codex'), [LABEL_PROFILE]: is(profile) }))

export const FALLBACK_ALERTS: readonly Alert[] = [
  {
    name: 'GatewatchSustainedFallback',
    expression: `${sumBy(ROW, grown(series('fallbacks'), '5m'))} > 0`,
    for: '15m',
    severity: 'warning',
    summary: 'Calls have been falling back to another profile for a quarter of an hour.',
    description: `Calls keep going on from profile ${label(LABEL_FROM)} at ${label(LABEL_PROVIDER)} to ${label(LABEL_TO)} (${VALUE} in the last 5 minutes).`,
    board: 'profileFallback',
    chooses: [LABEL_PROVIDER],
    proof: {
      series: { [series('fallbacks', fallback)]: '_x10 1+1x30 31x30' },
      notYet: 20,
      fires: 30,
      resolved: 47,
      labels: fallbackLabels,
      value: '5',
    },
  },
  {
    name: 'GatewatchBillingSwitched',
    expression: `${sumBy(ROW, grown(series('billingChanges'), '10m'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'Calls were answered by a profile that is paid for otherwise than the one they were meant for.',
    description: `${VALUE} call(s) meant for ${label(LABEL_FROM)} were answered by ${label(LABEL_TO)}, which is paid for otherwise, in the last 10 minutes.`,
    board: 'profileFallback',
    chooses: [LABEL_PROVIDER],
    proof: {
      series: {
        [series('billingChanges', fallback)]: '_x10 3x40',
        // The way led over a profile that pays alike: it is not the one that the calls were meant for.
        [series('fallbacks', { ...fallback, [LABEL_TO]: is('openai-codex:team') })]: '_x10 3x40',
        [series('fallbacks', { ...fallback, [LABEL_FROM]: is('openai-codex:team') })]: '_x10 3x40',
      },
      notYet: 9,
      fires: 11,
      resolved: 22,
      labels: fallbackLabels,
      value: '3',
    },
  },
  {
    name: 'GatewatchProbeDiverges',
    // What a gateway saw of a profile it saw alone: another one may have no calls for it.
    expression: `${maxBy([LABEL_PROVIDER, LABEL_PROFILE, 'instance'], series('probeDivergence'))} == 1`,
    for: '0m',
    severity: 'warning',
    summary: 'The probe of a profile and its calls disagree about its credential.',
    description: `At gateway {{ $labels.instance }} the last probe of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} and its last calls disagree: one says that the credential works, the other that it does not.`,
    board: 'profileFallback',
    chooses: [LABEL_PROVIDER, LABEL_PROFILE],
    proof: {
      series: {
        [withInstance(series('probeDivergence', { [LABEL_PROVIDER]: is('openai-codex'), [LABEL_PROFILE]: is('openai-codex:work') }))]:
          '_x4 0x5 1x10 0x20',
      },
      // The first scrape that shows it is enough.
      notYet: 9,
      fires: 10,
      resolved: 21,
      labels: { [LABEL_PROVIDER]: 'openai-codex', [LABEL_PROFILE]: 'openai-codex:work', instance: 'gateway:8089' },
    },
  },
  {
    name: 'GatewatchAllProfilesResting',
    // Gateways of several state folders have profiles of their own: one can be out of service alone.
    expression: `${sumBy([LABEL_PROVIDER, 'instance'], series('profileServes'))} == 0`,
    for: '1m',
    severity: 'critical',
    summary: 'No profile of a provider can serve.',
    description: `Every profile of ${label(LABEL_PROVIDER)} rests, waits for a login, has no credential, is denied or cannot be refreshed, at gateway {{ $labels.instance }}.`,
    board: 'profileFallback',
    chooses: [LABEL_PROVIDER],
    proof: {
      series: {
        [servesOf('openai-codex:work')]: '1x9 0x9 1x20',
        [servesOf('openai-codex:team')]: '1x4 0x14 0x20',
      },
      notYet: 10,
      fires: 12,
      resolved: 21,
      labels: { [LABEL_PROVIDER]: 'openai-codex', instance: 'gateway:8089' },
    },
  },
]

function withInstance(selector: string): string {
  return selector.replace('}', ', instance="gateway:8089"}')
}
