import { GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE } from '../otel/genai-semconv.ts'
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_ROUTE,
  ATTR_HTTP_STATUS,
  LABEL_CALLER,
  LABEL_MODEL,
  LABEL_PROFILE,
  LABEL_PROVIDER,
} from '../otel/semconv.ts'
import { type Board, placed } from './board.ts'
import { toBoard, toTracesOfRow } from './links.ts'
import { timeseries } from './panel-kinds.ts'
import { chosen, grown, isPresent, legendOf, observations, quantile, RATE, selected, share, sumBy, sumOf, WHOLE_RANGE } from './query.ts'
import { tablePanel } from './table.ts'

const failed = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), [ATTR_ERROR_TYPE]: isPresent })

const howDoAttemptsFail = timeseries({
  title: 'Failed attempts by class',
  question: 'How do requests to the providers fail?',
  queries: [
    {
      expression: sumBy([LABEL_PROVIDER, ATTR_ERROR_TYPE], grown(observations('attemptDuration', failed), '$__interval')),
      legend: legendOf(LABEL_PROVIDER, ATTR_ERROR_TYPE),
    },
  ],
  unit: 'count',
  bars: true,
})

const howDoCallersSeeTheirCalls = timeseries({
  title: 'Duration of calls, over all attempts',
  question: 'How long does a call take as its caller sees it, refreshes and fallbacks included?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'genaiDuration', [GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL], {
      [GENAI_REQUEST_MODEL]: chosen(LABEL_MODEL),
    }),
    legend: `${legendOf(GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const attemptMatchers = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL) })

const howLongDoAttemptsTake = timeseries({
  title: 'Duration of attempts',
  question: 'How long do requests take, from sending them to the last byte of the answer?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'attemptDuration', [LABEL_PROVIDER, LABEL_MODEL], attemptMatchers),
    legend: `${legendOf(LABEL_PROVIDER, LABEL_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const attempts = observations('attemptDuration', selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL) }))

const howManyAttemptsAreMade = timeseries({
  title: 'Attempts by provider and model',
  question: 'How many requests go to which provider, for which model?',
  queries: [
    { expression: sumBy([LABEL_PROVIDER, LABEL_MODEL], `rate(${attempts}[${RATE}])`), legend: legendOf(LABEL_PROVIDER, LABEL_MODEL) },
  ],
  unit: 'perSecond',
})

const tokens = sumOf('genaiTokens', { [GENAI_REQUEST_MODEL]: chosen(LABEL_MODEL) })

const howManyTokensAreUsed = timeseries({
  title: 'Tokens of models by kind, a second',
  question: 'How many tokens are read and written, by which model?',
  queries: [
    {
      expression: sumBy([GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE], `rate(${tokens}[${RATE}])`),
      legend: legendOf(GENAI_REQUEST_MODEL, GENAI_TOKEN_TYPE),
    },
  ],
  unit: 'tokens',
})

const firstChunkMatchers = selected('timeToFirstChunk', { [LABEL_MODEL]: chosen(LABEL_MODEL) })

const howSoonDoesTheFirstChunkCome = timeseries({
  title: 'Time to the first chunk',
  question: 'How soon does the first chunk of a good answer come?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'timeToFirstChunk', [LABEL_PROVIDER, LABEL_MODEL], firstChunkMatchers),
    legend: `${legendOf(LABEL_PROVIDER, LABEL_MODEL)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const whatComesIn = timeseries({
  title: 'Inbound requests',
  question: 'Which requests come in over HTTP, and how are they answered?',
  queries: [
    {
      expression: sumBy([ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS], `rate(${observations('serverDuration')}[${RATE}])`),
      legend: legendOf(ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS),
    },
  ],
  unit: 'perSecond',
})

const callRows = [LABEL_CALLER, LABEL_PROVIDER, LABEL_MODEL, LABEL_PROFILE]
const callMatchers = (failed: boolean) =>
  selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), ...(failed && { [ATTR_ERROR_TYPE]: isPresent }) })
const callCount = (failed: boolean) => sumBy(callRows, grown(observations('attemptDuration', callMatchers(failed)), WHOLE_RANGE))
const callSeconds = sumBy(callRows, grown(sumOf('attemptDuration', callMatchers(false)), WHOLE_RANGE))

const whichCallersCall = tablePanel({
  title: 'Callers',
  question: 'Which callers call which model, by which profile, and how does it end?',
  rows: callRows,
  columns: [
    { title: 'Attempts', expression: callCount(false), unit: 'count' },
    { title: 'Failed', expression: callCount(true), unit: 'count' },
    { title: 'Mean duration', expression: `${callSeconds} / (${callCount(false)} > 0)`, unit: 'seconds' },
  ],
  cellLinks: {
    [LABEL_CALLER]: [toTracesOfRow({ reason: false }), toBoard('Refreshes of this caller', 'whoRefreshes', { caller: 'caller' })],
  },
})

const rate = (failed: boolean) => {
  const matchers = selected('attemptDuration', { [LABEL_MODEL]: chosen(LABEL_MODEL), ...(failed && { [ATTR_ERROR_TYPE]: isPresent }) })
  return sumBy([LABEL_PROVIDER], `rate(${observations('attemptDuration', matchers)}[${RATE}])`)
}

const whichShareOfAttemptsFails = timeseries({
  title: 'Share of attempts that fail',
  question: 'Which share of the requests to each provider fails?',
  queries: [{ expression: share(rate(true), rate(false)), legend: legendOf(LABEL_PROVIDER) }],
  unit: 'share',
})

export const providerCalls: Board = {
  key: 'providerCalls',
  title: 'Gatewatch / Provider calls',
  question: 'How many calls go to which provider, how do they end, how long do they take?',
  hasModel: true,
  hasTraces: true,
  rows: [
    { panels: [placed(howManyAttemptsAreMade, 8, 8), placed(whichShareOfAttemptsFails, 8, 8), placed(howDoAttemptsFail, 8, 8)] },
    { panels: [placed(whichCallersCall, 24, 9)] },
    { title: 'Duration', panels: [placed(howLongDoAttemptsTake, 12, 8), placed(howSoonDoesTheFirstChunkCome, 12, 8)] },
    {
      title: 'As callers see it',
      panels: [placed(howDoCallersSeeTheirCalls, 8, 8), placed(howManyTokensAreUsed, 8, 8), placed(whatComesIn, 8, 8)],
    },
  ],
}
