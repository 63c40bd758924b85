import { GATEWAY_JOB } from '../scrape-jobs.ts'
import { tablePanel } from '../table.ts'

const rows = ['job', 'instance']

export const whichGatewaysAreUp = tablePanel({
  title: 'Gateways',
  question: 'Which gateways answer the scrapes of Prometheus?',
  rows,
  columns: [{ title: 'Up', expression: `max by (job, instance) (up{job="${GATEWAY_JOB}"})`, unit: 'count' }],
})
