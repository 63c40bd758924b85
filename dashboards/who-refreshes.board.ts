import {
  ATTR_CALLER,
  ATTR_CODE_STACK,
  ATTR_ERROR_TYPE,
  ATTR_OUTCOME,
  ATTR_PROVIDER,
  ATTR_REPLAY,
  ATTR_VIA,
  LABEL_CALLER,
  LABEL_DECISION,
  LABEL_OPERATION,
  LABEL_OUTCOME,
  LABEL_POLICY,
  LABEL_PROFILE,
  LABEL_PROVIDER,
  LABEL_REASON,
  LABEL_VIA,
} from '../otel/semconv.ts'
import { type Board, placed } from './board.ts'
import { attribute, toBoard, toTracesOfRow } from './links.ts'
import { NOT_REPORTED } from './panel.ts'
import { heatmap, nodeGraph, timeseries } from './panel-kinds.ts'
import {
  bucketsOf,
  chosenOrAbsent,
  grown,
  isPresent,
  legendOf,
  observations,
  quantile,
  RATE,
  relabel,
  selected,
  series,
  sumBy,
  sumOf,
  WHOLE_RANGE,
} from './query.ts'
import { spanTable, tablePanel } from './table.ts'
import { VIA_COLOURS } from './theme.ts'
import { refreshesPerTokenLife } from './token-life.ts'

const howDoLoginsEnd = timeseries({
  title: 'Logins and revocations by outcome',
  question: 'How do logins, code exchanges, device logins and revocations end?',
  queries: [
    {
      expression: sumBy(
        [LABEL_OPERATION, LABEL_OUTCOME],
        grown(
          observations('operationDuration', selected('operationDuration', { [LABEL_PROFILE]: chosenOrAbsent(LABEL_PROFILE) })),
          '$__interval',
        ),
      ),
      legend: legendOf(LABEL_OPERATION, LABEL_OUTCOME),
    },
  ],
  unit: 'count',
  bars: true,
})

const howDoRefreshesEnd = timeseries({
  title: 'Refreshes by outcome',
  question: 'How do refreshes end?',
  queries: [
    {
      expression: sumBy([LABEL_OUTCOME], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_OUTCOME),
    },
  ],
  unit: 'count',
  bars: true,
})

const howLongDoRefreshesTake = timeseries({
  title: 'Duration of refreshes',
  question: 'How long do refreshes take, from asking for the lease (or sending, past the gate) to their end?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'refreshDuration', [LABEL_VIA]),
    legend: `${legendOf(LABEL_VIA)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const howManyRefreshesPerTokenLife = timeseries({
  title: 'Refreshes per token life',
  question: 'How often is a token refreshed in its lifetime (of a long life, in an hour of it)? Once is enough.',
  empty: NOT_REPORTED,
  queries: [
    {
      expression: refreshesPerTokenLife(selected('refreshDuration'), selected('tokenExpiry')),
      legend: legendOf(LABEL_PROVIDER, LABEL_PROFILE),
    },
  ],
  unit: 'count',
})

const howOldAreTokensWhenRefreshed = heatmap({
  title: 'Age of the token at its refresh',
  question: 'How old are tokens when they are refreshed? Seconds mean a refresh right after a login.',
  empty: NOT_REPORTED,
  query: { expression: sumBy(['le'], `increase(${bucketsOf('tokenAge', selected('tokenAge'))}[$__interval])`), legend: '{{le}}' },
  unit: 'seconds',
})

const throughTheGateOrPastIt = timeseries({
  title: 'Through the gate or past it',
  question: 'Do refreshes go through the gate?',
  queries: [
    {
      expression: sumBy([LABEL_VIA], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_VIA),
    },
  ],
  unit: 'count',
  bars: true,
  colours: VIA_COLOURS,
})

const whatDoesTheGateDecide = timeseries({
  title: 'Acquisitions by decision',
  question: 'What does the gate do with its acquisitions?',
  queries: [
    {
      expression: sumBy([LABEL_DECISION, LABEL_REASON], `rate(${series('acquisitions', selected('acquisitions'))}[${RATE}])`),
      legend: legendOf(LABEL_DECISION, LABEL_REASON),
    },
  ],
  unit: 'perSecond',
})

const refreshRows = [LABEL_CALLER, LABEL_REASON, LABEL_VIA]
const refreshCount = (failed: boolean) =>
  sumBy(
    refreshRows,
    grown(observations('refreshDuration', selected('refreshDuration', failed ? { [ATTR_ERROR_TYPE]: isPresent } : {})), WHOLE_RANGE),
  )
const refreshSeconds = sumBy(refreshRows, grown(sumOf('refreshDuration', selected('refreshDuration')), WHOLE_RANGE))

const whichCallersRefresh = tablePanel({
  title: 'Callers',
  question: 'Which callers refresh, how often, for which reason, by which door, and how does it end?',
  rows: refreshRows,
  columns: [
    { title: 'Refreshes', expression: refreshCount(false), unit: 'count' },
    { title: 'Failed', expression: refreshCount(true), unit: 'count' },
    { title: 'Mean duration', expression: `${refreshSeconds} / (${refreshCount(false)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: {
    [LABEL_CALLER]: [toTracesOfRow({ reason: true }), toBoard('Calls of this caller', 'providerCalls', { caller: 'caller' })],
  },
})

const columns = [ATTR_CALLER, ATTR_PROVIDER, ATTR_OUTCOME, ATTR_REPLAY, ATTR_CODE_STACK].map(name => `span.${name}`).join(', ')

const whichTracesWentPastTheGate = spanTable({
  title: 'Traces of bypasses',
  question: 'Which call stacks sent a token request past the gate?',
  traceql: `{ ${attribute(ATTR_VIA, 'bypass')} } | select(${columns})`,
})

const refreshes = grown(observations('refreshDuration', selected('refreshDuration')), WHOLE_RANGE)

/** A word may be a caller and a provider at once; the prefix keeps the two apart. */
function nodesOf(label: string): string {
  return relabel(relabel(sumBy([label], refreshes), 'id', `${label}:$1`, label), 'title', '$1', label)
}

function edgesFrom(source: string, target: string): string {
  const ends = relabel(relabel(sumBy([source, target], refreshes), 'source', `${source}:$1`, source), 'target', `${target}:$1`, target)
  return `label_join(${ends}, "id", " > ", "source", "target")`
}

const whichWayDoRefreshesTake = nodeGraph({
  title: 'Caller, gate or bypass, provider',
  question: 'Which way do refreshes take from their callers to the providers?',
  nodes: sumBy(['id', 'title'], [LABEL_CALLER, LABEL_VIA, LABEL_PROVIDER].map(nodesOf).join(' or ')),
  edges: sumBy(['id', 'source', 'target'], `${edgesFrom(LABEL_CALLER, LABEL_VIA)} or ${edgesFrom(LABEL_VIA, LABEL_PROVIDER)}`),
})

const bypassRows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_POLICY]

const whoGoesPastTheGate = tablePanel({
  title: 'Bypasses',
  question: 'Who sends token requests past the gate?',
  rows: bypassRows,
  columns: [
    { title: 'Bypasses', expression: sumBy(bypassRows, grown(series('bypasses', selected('bypasses')), WHOLE_RANGE)), unit: 'count' },
  ],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})

const whoRefreshesAndWhy = timeseries({
  title: 'Refreshes by caller and reason',
  question: 'Who refreshes, and why?',
  queries: [
    {
      expression: sumBy([LABEL_CALLER, LABEL_REASON], grown(observations('refreshDuration', selected('refreshDuration')), '$__interval')),
      legend: legendOf(LABEL_CALLER, LABEL_REASON),
    },
  ],
  unit: 'count',
  bars: true,
})

const replayRows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_PROFILE]

const whoReplaysAToken = tablePanel({
  title: 'Replays',
  question: 'Who sends a refresh token that had already been rotated away?',
  rows: replayRows,
  columns: [{ title: 'Replays', expression: sumBy(replayRows, grown(series('replays', selected('replays')), WHOLE_RANGE)), unit: 'count' }],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})

const operationRows = [LABEL_OPERATION, LABEL_PROVIDER, LABEL_CALLER]
// A host may leave open for which profile a user signs in.
const operations = selected('operationDuration', { [LABEL_PROFILE]: chosenOrAbsent(LABEL_PROFILE) })
const operationCount = (matchers: typeof operations) =>
  sumBy(operationRows, grown(observations('operationDuration', matchers), WHOLE_RANGE))
const operationSeconds = sumBy(operationRows, grown(sumOf('operationDuration', operations), WHOLE_RANGE))

const whoSignsIn = tablePanel({
  title: 'Logins and revocations',
  question: 'Who signs in and out, at which provider, how often, how long does it take, and how much of it fails?',
  rows: operationRows,
  columns: [
    { title: 'Operations', expression: operationCount(operations), unit: 'count' },
    { title: 'Failed', expression: operationCount({ ...operations, [ATTR_ERROR_TYPE]: isPresent }), unit: 'count' },
    { title: 'Mean duration', expression: `${operationSeconds} / (${operationCount(operations)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: { [LABEL_CALLER]: [toTracesOfRow({ reason: false })] },
})

export const whoRefreshes: Board = {
  key: 'whoRefreshes',
  title: 'Gatewatch / Who refreshes',
  question: 'Who refreshed the token, why, and did they go through the gate?',
  hasTraces: true,
  rows: [
    { panels: [placed(whoRefreshesAndWhy, 12, 9), placed(throughTheGateOrPastIt, 12, 9)] },
    { panels: [placed(whichCallersRefresh, 14, 10), placed(whichWayDoRefreshesTake, 10, 10)] },
    {
      title: 'Past the gate',
      panels: [placed(whoGoesPastTheGate, 8, 8), placed(whoReplaysAToken, 8, 8), placed(whichTracesWentPastTheGate, 8, 8)],
    },
    {
      title: 'How often, and how old the token was',
      panels: [placed(howManyRefreshesPerTokenLife, 12, 8), placed(howOldAreTokensWhenRefreshed, 12, 8)],
    },
    {
      title: 'What became of it',
      panels: [placed(whatDoesTheGateDecide, 8, 8), placed(howDoRefreshesEnd, 8, 8), placed(howLongDoRefreshesTake, 8, 8)],
    },
    { title: 'Signing in and out', panels: [placed(whoSignsIn, 14, 8), placed(howDoLoginsEnd, 10, 8)] },
  ],
}
