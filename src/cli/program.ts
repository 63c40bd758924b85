import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { BILLINGS, IMPORT_SOURCES, PROCESS_ROLES, VIAS } from '../domain/enums.ts'
import { configError, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { redactText } from '../telemetry/redaction-patterns.ts'
import { packageVersion } from '../tools/own-package.ts'
import { WATCH_POLICIES } from '../watch/watch-policy.ts'
import { stateFolderOf } from '../watch/watch-settings.ts'
import { EXIT, type ExitCode, type Output, processOutput } from './output.ts'
import type { RunCommandOptions } from './run.ts'

/** Runs one command. A failure is a line on stderr and an exit code; a stack is shown for internal errors only. */
export async function runProgram(parameters: string[]): Promise<number> {
  const line = new CommandLine()
  const parts = [addGatewayCommands, addProfileCommands, addWatchCommands, addOpsCommands, addDashboardCommands, addDiagnoseCommands]
  for (const addCommands of parts) addCommands(line)
  try {
    await line.program.parseAsync(parameters)
    return line.exitCode
  } catch (error) {
    return reportFailure(error, processOutput(line.isJson))
  }
}

function reportFailure(thrown: unknown, output: Output): ExitCode {
  const unsaved = unsavedIn(thrown)
  const error = unsaved ?? thrown
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage
  if (!(error instanceof GatewayError)) {
    output.note(`gatewatch: a fault of Gatewatch itself; please report it\n${redactText(String((error as Error).stack ?? error))}`)
    return EXIT.fault
  }
  const { code, message, next } = error
  output.note(output.isJson ? JSON.stringify({ error: { code, message, next } }) : `gatewatch: ${message}`)
  if (unsaved) return EXIT.unsaved
  return code === 'GW_CONFIG' ? EXIT.usage : EXIT.dead
}

/** Finds the error that names the tokens that could not be stored, also among several errors of a shutdown. */
function unsavedIn(error: unknown): GatewayError | undefined {
  if (isGatewayError(error, 'GW_NOT_PERSISTED')) return error
  if (!(error instanceof AggregateError)) return undefined
  return error.errors.map(unsavedIn).find(found => found !== undefined)
}

/** The command line while its commands are declared, and the state of the one that runs. */
class CommandLine {
  readonly program = new Command('gatewatch')
    .description('Know who refreshed the token, why, and whether they went through the gate.')
    .version(packageVersion())
    .option('--json', 'print JSON, one value a line')
    .exitOverride()
    .enablePositionalOptions()
  exitCode: number = EXIT.good
  isJson = false

  /** A command that prints a result, for people or as JSON. @param group The command it belongs below. @default the program */
  add(name: string, description: string, group: Command = this.program): Command {
    return group.command(name).description(description).option('--json', 'print JSON, one value a line').exitOverride()
  }

  /** A command that holds others. */
  addGroup(name: string, description: string): Command {
    return this.program.command(name).description(description).exitOverride()
  }

  /**
   * Runs a command with its options, and its arguments under the given names.
   *
   * @param load Imports the command: a process loads the modules of the one command that it runs.
   */
  action<O>(load: () => Promise<(options: O, output: Output) => Promise<ExitCode>>, ...argumentNames: string[]) {
    return async (...given: unknown[]): Promise<void> => {
      const self = given.at(-1) as Command
      const { json, ...options } = self.optsWithGlobals()
      const words = Object.fromEntries(argumentNames.map((name, index) => [name, given[index]]))
      this.isJson = json === true
      const command = await load()
      this.exitCode = await command({ ...options, ...words } as O, processOutput(this.isJson))
    }
  }
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A list with commas, added to what came before. */
function aList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').map(word => word.trim())].filter(word => word !== '')
}

/** One more of an option that may be repeated. */
function collected(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

/** Reads a whole number within bounds. */
function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`)
  }
}

/** What the commands' help says of `--key-env`. */
const KEY_ENV_HELP =
  "environment variable with one of the gateway's keys (default: GATEWATCH_KEY, else the variable of listen.keysEnv in the gatewatch.json here)"

/** A span of time in ms. */
function aSpanOfTime(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const unitMs = UNITS_MS[unit]
  if (count !== undefined && unitMs !== undefined) return Number(count) * unitMs
  throw new InvalidArgumentError('must be a number and a unit, such as 30s, 15m, 1h or 7d')
}

/**
 * An http or https address. A password in it would stand in messages and in the list of processes, and no request would take it.
 *
 * @throws {GatewayError} `GW_CONFIG` where it holds one: an `InvalidArgumentError` would show the address.
 */
function anUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new InvalidArgumentError('must be an http or https URL')
  const { username, password } = new URL(text)
  if (username || password) throw configError('an address must hold no user name and no password')
  return text
}

/** `gatewatch serve|demo|status`: a gateway, and asking one. */
function addGatewayCommands(line: CommandLine): void {
  line
    .add('serve', 'run the gateway')
    .requiredOption('--config <file>', 'configuration file (JSON)')
    .option(
      '--state <folder>',
      'state folder in which events are recorded as well, shared with watched processes (default: GATEWATCH_STATE, else none)',
    )
    .action(line.action(async () => (await import('./serve.ts')).serveCommand))
  line
    .add('demo', 'run gateway, simulated provider and live traffic')
    .option(
      '--port <port>',
      'port of the gateway, 0 for a free one (default: 8089, or a free one when that is taken)',
      wholeNumber(0, 65_535),
    )
    .option('--seconds <n>', 'end after so many seconds', wholeNumber(1, 86_400))
    .action(line.action(async () => (await import('./demo.ts')).demoCommand))
  line
    .add('status', 'show the profiles of a running gateway and who refreshes, or who refreshed in watched processes (--state)')
    .option('--url <url>', 'address of the gateway (default: where the gatewatch.json here listens, else http://127.0.0.1:8089)', anUrl)
    .option('--key-env <name>', KEY_ENV_HELP)
    .option('--probe', 'let the gateway probe every profile first, on the path of a call')
    .addOption(
      new Option('--state <folder>', 'state folder of watched processes, read instead of asking a gateway').conflicts([
        'url',
        'keyEnv',
        'probe',
      ]),
    )
    .action(line.action(async () => (await import('./status.ts')).statusCommand))
}

/** `gatewatch profiles`: what a configuration holds, and how profiles come in and go. */
function addProfileCommands(line: CommandLine): void {
  const profiles = line
    .add('profiles', 'show the profiles of a configuration and what they can do')
    // Not a required option: commander would ask for it in every command below.
    .option('--config <file>', 'configuration file (JSON)')
    .action(line.action(async () => (await import('./profiles.ts')).profilesCommand))
  /** A command that takes the place of the profiles. */
  const addPlaced = (name: string, description: string) =>
    line
      .add(name, description, profiles)
      .option('--config <file>', 'configuration file (default: gatewatch.json, if there is one here)')
      .option('--state <folder>', 'state folder, without a configuration')
  addPlaced('import', 'import the logins of another application; its files are only read')
    .addOption(new Option('--from <application>', 'application').choices(IMPORT_SOURCES).makeOptionMandatory())
    .option('--path <path>', 'its file or folder (default: where the application keeps it)')
    .option('--profile <name>', 'only this profile, by its displayed name or its name at the source')
    .option('--as <id>', 'name of that profile here: PROVIDER:NAME')
    .option('--take-ownership', 'take rotating refresh tokens too: the application must not use them any more')
    .option('--replace', 'replace a stored profile of the same name')
    .option('--dry-run', 'show what would be imported, and change nothing')
    .action(line.action(async () => (await import('./import.ts')).importCommand))
  addPlaced('login', 'sign in at a provider and store the login')
    .requiredOption('--provider <id>', 'provider, built in or of the configuration')
    .option('--profile <name>', 'name of the profile (default: PROVIDER:default)')
    .option('--paste', 'for a machine without a browser: paste the address at which another browser ended')
    .option('--device', 'enter a code on another device')
    .option('--replace-account', 'allow another account than that of the stored login')
    .action(line.action(async () => (await import('./login.ts')).loginCommand))
  addPlaced('logout', 'revoke a login at its provider and delete it')
    .argument('<name>', 'profile')
    .option('--force', 'delete it even if the provider does not revoke it')
    .action(line.action(async () => (await import('./profile-changes.ts')).logoutCommand, 'name'))
  addPlaced('order', 'set or show the order in which profiles are tried')
    .argument('[names...]', 'profiles; those not named are not used')
    .option('--clear', 'remove the order')
    .action(line.action(async () => (await import('./profile-changes.ts')).orderCommand, 'names'))
  addPlaced('add', 'add a profile with an API key, by the variable that holds it')
    .argument('<name>', 'name of the profile')
    .requiredOption('--provider <id>', 'provider, built in or of the configuration')
    .requiredOption('--api-key-env <name>', 'environment variable that holds the key where the gateway runs')
    .addOption(new Option('--billing <how>', 'how its calls are paid (default: metered)').choices(BILLINGS))
    .action(line.action(async () => (await import('./profile-changes.ts')).addCommand, 'name'))
  addPlaced('wake', 'end the cooldowns of a profile whose cause is resolved, such as a bill that was paid')
    .argument('<name>', 'profile')
    .action(line.action(async () => (await import('./profile-changes.ts')).wakeCommand, 'name'))
  addPlaced('rename', 'rename a profile')
    .argument('<name>', 'profile')
    .argument('<new-name>', 'new name')
    .action(line.action(async () => (await import('./profile-changes.ts')).renameCommand, 'name', 'newName'))
}

/** The folder in which watched processes record. */
function stateOption(): Option {
  return new Option('--state <folder>', 'state folder of the watched processes').default(
    stateFolderOf(process.env),
    'GATEWATCH_STATE, else ~/.gatewatch',
  )
}

/** `gatewatch run` and `gatewatch refreshes`: watching processes, and reading what they recorded. */
function addWatchCommands(line: CommandLine): void {
  line
    .add('refreshes', 'list the token requests that the processes of a state folder recorded: who, why, which way, how it ended')
    .addOption(stateOption())
    .option('--follow', 'continue and show new ones as they come')
    .option('--stack', 'show the stack of each')
    .option('--since <time>', 'only since this long ago: 30s, 15m, 1h, 7d', aSpanOfTime)
    .option('--profile <name>', 'of this profile')
    .option('--caller <text>', 'of callers whose file or function holds the text')
    .addOption(new Option('--via <door>', 'through the gate, or past it').choices(VIAS))
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 100)
    .action(line.action(async () => (await import('./refreshes.ts')).refreshesCommand))
  line
    .add('run', 'run a command and watch it and every Node process it starts: who refreshes, why, and past which gate')
    .usage('[options] -- command [parameters...]')
    .argument('<command...>')
    .passThroughOptions()
    .option('--state <folder>', 'folder in which events are recorded (default: GATEWATCH_STATE, else ~/.gatewatch)')
    .option('--gate <names>', 'functions that are the refresh gate: NAME or file#NAME, with commas', aList)
    .option('--preset <names>', 'gate of a known application: openclaw', aList)
    .option('--token-url <url>', 'one more token endpoint, [provider=]URL; may be repeated', collected)
    .option('--api <url>', 'one more base URL of a provider, [provider=]URL; may be repeated', collected)
    .option('--exclude <url>', 'do not watch this URL and the paths below it; may be repeated', collected)
    .option('--credentials <file>', 'file in which the application keeps its tokens, read for their expiry; may be repeated', collected)
    .option(
      '--deep-stacks <time>',
      'trace every asynchronous step for this long (30s, 10m, 1h): callers behind timers and queues, joiners of a shared refresh; makes processes several times slower',
      aSpanOfTime,
    )
    .addOption(new Option('--role <role>', 'role of the process in telemetry').choices(PROCESS_ROLES))
    .addOption(new Option('--policy <policy>', 'what happens to a bypass').choices(WATCH_POLICIES))
    .option(
      '--coalesce-window <time>',
      'with coalesce: how long a rotated token gets the newer answer (default: 10m, a day at most)',
      aSpanOfTime,
    )
    .action(async (command: string[], _options: unknown, self: Command) => {
      if (!process.argv.includes('--')) self.error('error: put -- before the command: gatewatch run [options] -- command [parameters...]')
      line.exitCode = await (await import('./run.ts')).runCommand(self.opts<RunCommandOptions>(), command)
    })
}

/** `gatewatch ops`: what watched processes recorded, in the browser. */
function addOpsCommands(line: CommandLine): void {
  line
    .add('ops', 'show what the processes of a state folder recorded, as a page in the browser, on loopback alone')
    .addOption(stateOption())
    .option('--port <port>', 'port of the page, 0 for a free one', wholeNumber(0, 65_535), 8090)
    .addOption(new Option('--open <answer>', 'open it in the browser of this machine').choices(['yes', 'no']).default('no'))
    .action(line.action(async () => (await import('./ops.ts')).opsCommand))
}

/** `gatewatch dashboards export|install`. */
function addDashboardCommands(line: CommandLine): void {
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
    .option('--dry-run', 'show what would change, and change nothing')
    .action(line.action(async () => (await import('./dashboards.ts')).installDashboardsCommand))
}

/** `gatewatch diagnose` and `gatewatch simulate`: find a failure, and reproduce one. */
function addDiagnoseCommands(line: CommandLine): void {
  line
    .add(
      'diagnose',
      'name what fails, the caller that causes it and the remedy; exit code 0: nothing, 1: a dead login, money spent or a storm, 2: anything else',
    )
    .addOption(stateOption())
    .option('--from <file>', 'read an events.sqlite, or traces in OTLP JSON, instead of the state folder')
    .option('--url <url>', 'ask a running gateway for what it recorded, instead of reading the state folder', anUrl)
    .option('--key-env <name>', KEY_ENV_HELP)
    .option('--since <time>', 'only since this long ago: 30s, 15m, 1h, 28d (default: 7d; with --from or --url everything)', aSpanOfTime)
    .option('--profile <name>', 'only findings of this profile')
    .action(line.action(async () => (await import('./diagnose.ts')).diagnoseCommand))
  line
    .add('simulate', 'reproduce a known failure of OAuth refresh or profile fallback on this machine')
    .option('--list', 'list the scenarios: what happens, why, who reported it')
    .option('--scenario <name>', 'name or number of the scenario')
    .option('--state <folder>', 'folder in which events are recorded (default: a new temporary one)')
    .option('--provider-only', 'start only the provider, for a client of your own, until Ctrl-C')
    .option('--port <port>', 'port of that provider (default: a free one)', wholeNumber(0, 65_535))
    .action(line.action(async () => (await import('./simulate.ts')).simulateCommand))
}
