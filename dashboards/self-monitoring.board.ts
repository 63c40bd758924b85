import { ATTR_ERROR_TYPE, LABEL_DECISION, LABEL_LABEL, LABEL_OPERATION, LABEL_PLACE, LABEL_PROFILE } from '../otel/semconv.ts'
import { type Board, placed } from './board.ts'
import { timeseries } from './panel-kinds.ts'
import { grown, knownTargets, legendOf, quantile, selected, series, sumBy } from './query.ts'
import { tablePanel } from './table.ts'

const areLeasesLost = timeseries({
  title: 'Leases lost',
  question: 'Were leases taken away while a refresh was under way?',
  queries: [
    {
      expression: sumBy([LABEL_PROFILE], grown(series('leasesLost', selected('leasesLost')), '$__interval')),
      legend: legendOf(LABEL_PROFILE),
    },
  ],
  unit: 'count',
  bars: true,
  redFrom: 1,
})

const howLongDoAcquisitionsWait = timeseries({
  title: 'Waiting at the gate',
  question: 'How long do acquisitions stay at the gate?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'acquisitionWait', [LABEL_DECISION]),
    legend: `${legendOf(LABEL_DECISION)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const howLongDoRefreshesWaitForTheLease = timeseries({
  title: 'Waiting for the lease',
  question: 'How long do refreshes wait until no other process holds the lease of the profile?',
  queries: [0.5, 0.95].map(q => ({
    expression: quantile(q, 'leaseWait', [LABEL_PROFILE]),
    legend: `${legendOf(LABEL_PROFILE)} · p${q * 100}`,
  })),
  unit: 'seconds',
  exemplars: true,
})

const whatFailsInTheStore = timeseries({
  title: 'Store errors',
  question: 'Which operations of the profile store fail, and how?',
  queries: [
    {
      expression: sumBy([LABEL_OPERATION, ATTR_ERROR_TYPE], grown(series('storeErrors'), '$__interval')),
      legend: legendOf(LABEL_OPERATION, ATTR_ERROR_TYPE),
    },
  ],
  unit: 'count',
  bars: true,
  redFrom: 1,
})

const rows = ['job', 'instance']

const whichGatewaysAreUp = tablePanel({
  title: 'Gateways',
  question: 'Which gateways, and applications with Gatewatch, answer the scrapes of Prometheus?',
  rows,
  columns: [{ title: 'Up', expression: `max by (job, instance) (${knownTargets()})`, unit: 'count' }],
})

const whichLabelsOverflow = timeseries({
  title: 'Labels past their cap',
  question: 'Which labels have so many values that some are shown as _other?',
  queries: [{ expression: sumBy([LABEL_LABEL], grown(series('labelOverflows'), '$__interval')), legend: legendOf(LABEL_LABEL) }],
  unit: 'count',
  bars: true,
})

const whichTelemetryWasDropped = timeseries({
  title: 'Telemetry dropped',
  question: 'Which telemetry was lost before it could be delivered?',
  queries: [{ expression: sumBy([LABEL_PLACE], grown(series('telemetryDropped'), '$__interval')), legend: legendOf(LABEL_PLACE) }],
  unit: 'count',
  bars: true,
  redFrom: 1,
})

export const inside: Board = {
  key: 'inside',
  title: 'Gatewatch / Inside',
  question: 'Do locks, store and telemetry of Gatewatch itself work?',
  rows: [
    { panels: [placed(whichGatewaysAreUp, 8, 8), placed(howLongDoAcquisitionsWait, 16, 8)] },
    {
      title: 'Lease and store',
      panels: [placed(howLongDoRefreshesWaitForTheLease, 8, 8), placed(areLeasesLost, 8, 8), placed(whatFailsInTheStore, 8, 8)],
    },
    { title: 'Telemetry', panels: [placed(whichTelemetryWasDropped, 12, 8), placed(whichLabelsOverflow, 12, 8)] },
  ],
}
