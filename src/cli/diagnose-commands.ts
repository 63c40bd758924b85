import type { CommandLine } from './command-line.ts'
import { anUrl, aSpanOfTime, KEY_ENV_HELP, wholeNumber } from './parameters.ts'
import { stateOption } from './watch-commands.ts'

/** `gatewatch diagnose` and `gatewatch simulate`: naming a failure, and playing one. */
export function addDiagnoseCommands(line: CommandLine): void {
  line
    .add('diagnose', 'say what fails, who causes it and what to do: 0 nothing, 1 a dead login, money spent or a storm, 2 anything less')
    .addOption(stateOption())
    .option('--from <file>', 'read a recorder.sqlite, or traces in OTLP JSON, instead of the state folder')
    .option('--url <url>', 'ask a running gateway for what it holds in memory, instead of the state folder', anUrl)
    .option('--key-env <name>', KEY_ENV_HELP)
    .option('--since <time>', 'so far back: 30s, 15m, 1h, 28d (default: 7d; with --from or --url all there is)', aSpanOfTime)
    .option('--profile <name>', 'only what concerns this profile')
    .action(line.action(async () => (await import('./diagnose.ts')).diagnoseCommand))
  line
    .add('simulate', 'play a known failure of OAuth refresh or profile fallback, on this machine alone')
    .option('--list', 'what can be played: what happens, why, who saw it')
    .option('--scenario <name>', 'name or number of the scenario')
    .option('--state <folder>', 'folder in which it is recorded (default: a new one in the temporary folder)')
    .option('--provider-only', 'set up the provider alone, for a client of your own, until Ctrl-C')
    .option('--port <port>', 'port of that provider (default: a free one)', wholeNumber(0, 65_535))
    .action(line.action(async () => (await import('./simulate.ts')).simulateCommand))
}
