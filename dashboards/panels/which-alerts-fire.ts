import { LABEL_CALLER, LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { tablePanel } from '../table.ts'

/** Prometheus' own series of alerts; not a metric of ours. */
const ALERTS = 'ALERTS{alertstate="firing", alertname=~"Gatewatch.+"}'

export const whichAlertsFire = tablePanel({
  title: 'Firing alerts',
  question: 'Which alerts fire now, for which profile and caller?',
  rows: ['alertname', 'severity', LABEL_PROVIDER, LABEL_PROFILE, LABEL_CALLER],
  columns: [
    {
      title: 'Alerts',
      expression: `sum by (alertname, severity, ${LABEL_PROVIDER}, ${LABEL_PROFILE}, ${LABEL_CALLER}) (${ALERTS})`,
      unit: 'count',
    },
  ],
})
