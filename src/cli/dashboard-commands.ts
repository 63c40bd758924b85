import type { CommandLine } from './command-line.ts'
import { anUrl } from './parameters.ts'

/** `gatewatch dashboards export|install`. */
export function addDashboardCommands(line: CommandLine): void {
  const boards = line.addGroup('dashboards', 'the Grafana boards, alerts and runbook')
  line
    .add('export', 'write boards, alert rules and runbook as files', boards)
    .argument('<folder>', 'folder to write to')
    .option('--grafana <url>', 'where the links of alerts find the boards', anUrl)
    .option('--runbook <url>', 'where the links of alerts find the runbook', anUrl)
    .action(line.action(async () => (await import('./dashboards.ts')).exportDashboardsCommand, 'folder'))
  line
    .add('install', 'put the boards into a running Grafana, in a folder of their own', boards)
    .requiredOption('--grafana <url>', 'address of Grafana', anUrl)
    .option('--token-env <name>', 'environment variable with the token of a service account', 'GRAFANA_TOKEN')
    .option('--dry-run', 'say what would change, and change nothing')
    .action(line.action(async () => (await import('./dashboards.ts')).installDashboardsCommand))
}
