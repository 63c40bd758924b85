import { ATTR_ERROR_TYPE, LABEL_OUTCOME, LABEL_PROVIDER, LABEL_VIA } from '../otel/semconv.ts'
import { FAILED_TOKEN_OUTCOMES, NEUTRAL_TOKEN_OUTCOMES } from '../src/domain/enums.ts'
import { type Alert, label, type RecordingRule, type Severity } from './alert.ts'
import { grown, is, isPresent, type Matchers, noneOf, observations, oneOf, share, sumBy } from './query.ts'
import { REFRESH_OBJECTIVE } from './theme.ts'

/** A pair of windows: the long one says that it matters, the short one that it still goes on. */
interface Burn {
  readonly factor: number
  readonly long: string
  readonly short: string
  readonly for: string
  readonly severity: Severity
  /** Minutes for the rule test; see `Proof`. */
  readonly proof: { readonly notYet: number; readonly fires: number; readonly resolved: number }
}

/** The usual ladder (SRE workbook, chapter 5): two per cent of a month's budget in an hour, five in six, ten in three days. */
const BURNS: readonly Burn[] = [
  { factor: 14.4, long: '1h', short: '5m', for: '2m', severity: 'critical', proof: { notYet: 61, fires: 72, resolved: 97 } },
  { factor: 6, long: '6h', short: '30m', for: '15m', severity: 'critical', proof: { notYet: 65, fires: 89, resolved: 120 } },
  { factor: 3, long: '1d', short: '2h', for: '1h', severity: 'warning', proof: { notYet: 100, fires: 125, resolved: 230 } },
  { factor: 1, long: '3d', short: '6h', for: '3h', severity: 'warning', proof: { notYet: 200, fires: 300, resolved: 480 } },
]
const WINDOWS = [...new Set(BURNS.flatMap(({ long, short }) => [short, long]))]

/** One failed refresh that is mended by the next is no incident, however few refreshes there are. */
const LEAST_FAILURES = 2

const ROWS = [LABEL_PROVIDER]
const TRIED = { [LABEL_OUTCOME]: noneOf(...NEUTRAL_TOKEN_OUTCOMES) }
const failures = (window: string) => sumBy(ROWS, failedRefreshes(window))
const refreshes = (window: string) => sumBy(ROWS, grown(observations('refreshDuration', TRIED), window))
const ratio = (window: string) => `gatewatch:refresh_failures:ratio_${window}` as const
const count = (window: string) => `gatewatch:refresh_failures:increase_${window}` as const

const FAILED_WITHOUT_MORE = FAILED_TOKEN_OUTCOMES.filter(outcome => outcome !== 'throttled')

/** Refreshes that burn the objective; one that was throttled does only where its caller got no token by it, and has an `error.type` then. */
export function failedRefreshes(window: string, matchers: Matchers<'refreshDuration'> = {}): string {
  const failed = (more: Matchers<'refreshDuration'>) => grown(observations('refreshDuration', { ...matchers, ...more }), window)
  return `${failed({ [LABEL_OUTCOME]: oneOf(...FAILED_WITHOUT_MORE) })} or ${failed({ [LABEL_OUTCOME]: is('throttled'), [ATTR_ERROR_TYPE]: isPresent })}`
}

export const REFRESH_FAILURE_RULES: readonly RecordingRule[] = [
  ...WINDOWS.map(window => ({ name: ratio(window), expression: share(failures(window), refreshes(window)) })),
  ...BURNS.map(({ long }) => ({ name: count(long), expression: failures(long) })),
]

/** Refreshes fail so fast that the objective will be missed. */
export const REFRESH_FAILURE_BURN: readonly Alert[] = BURNS.map(burn => {
  const { factor, long, short, severity } = burn
  const limit = `${factor} * ${Math.round((1 - REFRESH_OBJECTIVE) * 1000) / 1000}`
  return {
    name: 'GatewatchRefreshFailureBurn',
    expression: `${ratio(long)} > ${limit} and ${ratio(short)} > ${limit} and ${count(long)} > ${LEAST_FAILURES - 0.5}`,
    for: burn.for,
    severity,
    labels: { long, short },
    summary: `Refreshes fail more often than the objective of ${REFRESH_OBJECTIVE * 100} % allows.`,
    description: `More than ${Math.round(factor * (1 - REFRESH_OBJECTIVE) * 1000) / 10} % of the refreshes at ${label(LABEL_PROVIDER)} failed in the last ${long}, and in the last ${short}.`,
    board: 'whoRefreshes',
    chooses: [LABEL_PROVIDER],
    proof: {
      // One refresh a minute goes well for an hour; then they fail for half an hour.
      series: {
        [observations('refreshDuration', {
          [LABEL_PROVIDER]: is('openai-codex'),
          [LABEL_VIA]: is('gate'),
          [LABEL_OUTCOME]: is('rotated'),
        })]: '1+1x59 60x29 60+1x600',
        [observations('refreshDuration', {
          [LABEL_PROVIDER]: is('openai-codex'),
          [LABEL_VIA]: is('gate'),
          [LABEL_OUTCOME]: is('unavailable'),
          [ATTR_ERROR_TYPE]: is('unavailable'),
        })]: '_x60 1+1x29 30x600',
      },
      ...burn.proof,
      labels: { [LABEL_PROVIDER]: 'openai-codex' },
    },
  }
})
