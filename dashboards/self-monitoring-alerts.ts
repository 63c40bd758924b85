import {
  ATTR_ERROR_TYPE,
  LABEL_LABEL,
  LABEL_OPERATION,
  LABEL_OUTCOME,
  LABEL_PLACE,
  LABEL_PROFILE,
  LABEL_PROVIDER,
} from '../otel/semconv.ts'
import { type Alert, label, VALUE } from './alert.ts'
import { grown, is, knownTargets, observations, series, sumBy } from './query.ts'

const PROFILE = [LABEL_PROVIDER, LABEL_PROFILE]
const work = { [LABEL_PROVIDER]: is('openai-codex'), [LABEL_PROFILE]: is('openai-codex:work') }
const workLabels = { [LABEL_PROVIDER]: 'openai-codex', [LABEL_PROFILE]: 'openai-codex:work' }
const TARGET = { job: 'chat-app', instance: 'gateway:8089' }
const DOWN = `(${knownTargets()}) == 0`
const target = (metric: string) => `${metric}{job="${TARGET.job}", instance="${TARGET.instance}"}`
const onceAtTen = { notYet: 9, resolved: 27 }

export const INSIDE_ALERTS: readonly Alert[] = [
  {
    name: 'GatewatchLeaseLost',
    expression: `${sumBy(PROFILE, grown(series('leasesLost'), '15m'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'A lease was taken away while its refresh was under way.',
    description: `${VALUE} refresh(es) of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} lost the lease in the last 15 minutes; two processes may have refreshed at once.`,
    board: 'inside',
    chooses: PROFILE,
    proof: { series: { [series('leasesLost', work)]: '_x10 1x40' }, ...onceAtTen, fires: 11, labels: workLabels, value: '1' },
  },
  {
    name: 'GatewatchLeaseContended',
    expression: `${sumBy(PROFILE, grown(observations('refreshDuration', { [LABEL_OUTCOME]: is('contention') }), '15m'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'A refresh gave up waiting for the lease of its profile.',
    description: `${VALUE} refresh(es) of profile ${label(LABEL_PROFILE)} at ${label(LABEL_PROVIDER)} never got the lease in the last 15 minutes: another process holds it.`,
    board: 'inside',
    chooses: PROFILE,
    proof: {
      series: {
        [observations('refreshDuration', { ...work, [LABEL_OUTCOME]: is('contention'), [ATTR_ERROR_TYPE]: is('GW_LEASE_TIMEOUT') })]:
          '_x10 2x40',
      },
      ...onceAtTen,
      fires: 11,
      labels: workLabels,
      value: '2',
    },
  },
  {
    name: 'GatewatchStoreErrors',
    expression: `${sumBy([LABEL_OPERATION, ATTR_ERROR_TYPE], grown(series('storeErrors'), '15m'))} > 0`,
    for: '0m',
    severity: 'critical',
    summary: 'The profile store fails; a rotated token may exist in memory alone.',
    description: `The store failed ${VALUE} time(s) to ${label(LABEL_OPERATION)} in the last 15 minutes (${label(ATTR_ERROR_TYPE)}).`,
    board: 'inside',
    chooses: [],
    proof: {
      series: { [series('storeErrors', { [LABEL_OPERATION]: is('write'), [ATTR_ERROR_TYPE]: is('ENOSPC') })]: '_x10 1x40' },
      ...onceAtTen,
      fires: 11,
      labels: { [LABEL_OPERATION]: 'write', error_type: 'ENOSPC' },
      value: '1',
    },
  },
  {
    name: 'GatewatchTelemetryDropped',
    expression: `${sumBy([LABEL_PLACE], grown(series('telemetryDropped'), '15m'))} > 0`,
    for: '5m',
    severity: 'warning',
    summary: 'Telemetry was lost before it could be delivered.',
    description: `${VALUE} item(s) were lost at ${label(LABEL_PLACE)} in the last 15 minutes; boards and traces may not show everything.`,
    board: 'inside',
    chooses: [],
    proof: {
      series: { [series('telemetryDropped', { [LABEL_PLACE]: is('span_queue') })]: '_x10 4x40' },
      notYet: 14,
      fires: 16,
      resolved: 27,
      labels: { [LABEL_PLACE]: 'span_queue' },
      value: '4',
    },
  },
  {
    name: 'GatewatchLabelOverflow',
    expression: `${sumBy([LABEL_LABEL], grown(series('labelOverflows'), '1h'))} > 0`,
    for: '0m',
    severity: 'warning',
    summary: 'A label has more values than its cap; the rest is shown as _other.',
    description: `${VALUE} value(s) of the label ${label(LABEL_LABEL)} were shown as _other in the last hour; boards by ${label(LABEL_LABEL)} are incomplete.`,
    board: 'inside',
    chooses: [],
    proof: {
      series: { [series('labelOverflows', { [LABEL_LABEL]: is('caller') })]: '_x10 7x90' },
      notYet: 9,
      fires: 11,
      resolved: 72,
      labels: { [LABEL_LABEL]: 'caller' },
      value: '7',
    },
  },
  {
    name: 'GatewatchTargetAbsent',
    // Where a target that is known does not answer, that is the alert.
    expression: `absent(${series('info')}) unless on () (${DOWN})`,
    for: '5m',
    severity: 'critical',
    summary: 'Prometheus knows no process with Gatewatch; nothing here is being watched.',
    description: 'No process with Gatewatch is scraped, or sends its metrics. Every other alert of Gatewatch is blind.',
    board: 'inside',
    chooses: [],
    proof: {
      series: { [target('up')]: '1x9 _x20 1x20', [target(series('info'))]: '1x9 _x20 1x20' },
      // The last sample is remembered for five minutes.
      notYet: 14,
      fires: 21,
      resolved: 31,
      labels: {},
    },
  },
  {
    name: 'GatewatchTargetDown',
    expression: DOWN,
    for: '5m',
    severity: 'critical',
    summary: 'A process with Gatewatch does not answer the scrapes of Prometheus.',
    description: `Target {{ $labels.instance }} of job {{ $labels.job }} has not answered for 5 minutes.`,
    board: 'inside',
    chooses: [],
    proof: {
      series: {
        [target('up')]: '1x9 0x20 1x20',
        [target(series('info'))]: '1x9 stale _x19 1x20',
        // Another target of Prometheus, in which no Gatewatch runs.
        'up{job="web", instance="web:80"}': '0x60',
      },
      notYet: 14,
      fires: 16,
      resolved: 32,
      labels: TARGET,
    },
  },
]
