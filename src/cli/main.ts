#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { packageVersion } from '../../otel/resource.ts'
import { PROCESS_ROLES, VIAS } from '../../otel/words.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { scrubText } from '../telemetry/scrub.ts'
import { WATCH_POLICIES } from '../watch/watch-policy.ts'
import { stateFolderOf } from '../watch/watch-settings.ts'
import {
  type ExportDashboardsOptions,
  exportDashboardsCommand,
  type InstallDashboardsOptions,
  installDashboardsCommand,
} from './dashboards.ts'
import { demoCommand } from './demo.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import { type Output, processOutput } from './output.ts'
import { profilesCommand } from './profiles.ts'
import { refreshesCommand } from './refreshes.ts'
import { type RunCommandOptions, runCommand } from './run.ts'
import { serveCommand } from './serve.ts'
import { statusCommand } from './status.ts'

const DEFAULT_URL = 'http://127.0.0.1:8089'
const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

process.exitCode = await run(process.argv)
// An exporter that retries at a dead address must not hold a command that is done.
setTimeout(() => process.exit(), 500).unref()

/** Runs one command. What goes wrong is a line on stderr and an exit code; a stack stands for a fault of ours alone. */
async function run(parameters: string[]): Promise<number> {
  let exitCode: number = EXIT.good
  let isJson = false
  const program = commands({
    begins: asJson => {
      isJson = asJson
    },
    done: code => {
      exitCode = code
    },
  })
  try {
    await program.parseAsync(parameters)
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage
    const output = processOutput(isJson)
    if (!(error instanceof GatewayError)) {
      output.note(`gatewatch: a fault of Gatewatch itself; please report it\n${scrubText(String((error as Error).stack ?? error))}`)
      return EXIT.fault
    }
    output.note(
      output.isJson
        ? JSON.stringify({ error: { code: error.code, message: error.message, next: error.next } })
        : `gatewatch: ${error.message}`,
    )
    return error.code === 'GW_CONFIG' ? EXIT.usage : EXIT.dead
  }
}

/** What a command tells while it runs. */
interface Told {
  /** Its options are read, and it begins. */
  begins(isJson: boolean): void
  done(code: number): void
}

function commands({ begins, done }: Told): Command {
  const program = new Command('gatewatch')
    .description('Know who refreshed the token, why, and whether they went through the gate.')
    .version(packageVersion())
    .option('--json', 'print JSON, one value a line')
    .exitOverride()
    .enablePositionalOptions()
  const action =
    <O>(command: (options: O, output: Output) => Promise<ExitCode>) =>
    async (_options: unknown, self: Command) => {
      const { json, ...options } = self.optsWithGlobals()
      begins(json === true)
      done(await command(options as O, processOutput(json === true)))
    }
  const add = (name: string, description: string) =>
    program.command(name).description(description).option('--json', 'print JSON, one value a line').exitOverride()

  add('serve', 'run the gateway').requiredOption('--config <file>', 'configuration file (JSON)').action(action(serveCommand))
  add('demo', 'run gateway, simulated provider and live traffic')
    .option(
      '--port <port>',
      'port of the gateway, 0 for a free one (default: 8089, or a free one when that is taken)',
      wholeNumber(0, 65_535),
    )
    .option('--seconds <n>', 'end after so many seconds', wholeNumber(1, 86_400))
    .action(action(demoCommand))
  add('profiles', 'show the profiles of a configuration and what they can do')
    .requiredOption('--config <file>', 'configuration file (JSON)')
    .action(action(profilesCommand))
  add('status', 'ask a running gateway for its profiles and who refreshes')
    .option('--url <url>', 'address of the gateway', anUrl, DEFAULT_URL)
    .option('--key-env <name>', "environment variable with one of the gateway's keys")
    .option('--probe', 'let the gateway probe every profile first, the way a call would go')
    .action(action(statusCommand))
  add('refreshes', 'list the token requests that the processes of a state folder recorded: who, why, which way, how it ended')
    .addOption(
      new Option('--state <folder>', 'state folder of the watched processes').default(
        stateFolderOf(process.env),
        'GATEWATCH_STATE, else ~/.gatewatch',
      ),
    )
    .option('--follow', 'go on and show new ones as they come')
    .option('--stack', 'show the stack of each')
    .option('--since <time>', 'so far back: 30s, 15m, 1h, 7d', aSpanOfTime)
    .option('--profile <name>', 'of this profile')
    .option('--caller <text>', 'of callers whose file or function holds the text')
    .addOption(new Option('--via <door>', 'through the gate, or past it').choices(VIAS))
    .option('--limit <n>', 'so many at the most', wholeNumber(1, 1_000_000), 100)
    .action(action(refreshesCommand))

  const boards = program.command('dashboards').description('the Grafana boards, alerts and runbook').exitOverride()
  boards
    .command('export')
    .description('write boards, alert rules and runbook as files')
    .argument('<folder>', 'folder to write to')
    .option('--grafana <url>', 'where the links of alerts find the boards', anUrl)
    .option('--runbook <url>', 'where the links of alerts find the runbook', anUrl)
    .option('--json', 'print JSON, one value a line')
    .action((folder: string, options: unknown, self: Command) =>
      action<ExportDashboardsOptions>((given, output) => exportDashboardsCommand({ ...given, folder }, output))(options, self),
    )
  boards
    .command('install')
    .description('put the boards into a running Grafana, in a folder of their own')
    .requiredOption('--grafana <url>', 'address of Grafana', anUrl)
    .option('--token-env <name>', 'environment variable with the token of a service account', 'GRAFANA_TOKEN')
    .option('--dry-run', 'say what would change, and change nothing')
    .option('--json', 'print JSON, one value a line')
    .action(action<InstallDashboardsOptions>(installDashboardsCommand))
  add('run', 'run a command and watch it and every Node process it starts: who refreshes, why, and past which gate')
    .usage('[options] -- command [parameters...]')
    .argument('<command...>')
    .passThroughOptions()
    .option('--state <folder>', 'folder that keeps what was seen (default: GATEWATCH_STATE, else ~/.gatewatch)')
    .option('--gate <names>', 'functions that are the refresh gate: NAME or file#NAME, with commas', aList)
    .option('--preset <names>', 'gate of a known application: openclaw', aList)
    .option('--token-url <url>', 'one more token endpoint, [provider=]URL; may be repeated', collected)
    .option('--api <url>', 'one more base URL of a provider, [provider=]URL; may be repeated', collected)
    .option('--exclude <url>', 'do not look at this URL and what lies below it; may be repeated', collected)
    .option('--credentials <file>', 'file in which the application keeps its tokens, read for their expiry; may be repeated', collected)
    .addOption(new Option('--role <role>', 'what the process is to its profiles').choices(PROCESS_ROLES))
    .addOption(new Option('--policy <policy>', 'what is done about a bypass').choices(WATCH_POLICIES))
    .action(async (command: string[], _options: unknown, self: Command) => {
      if (!process.argv.includes('--')) self.error('error: put -- before the command: gatewatch run [options] -- command [parameters...]')
      done(await runCommand(self.opts<RunCommandOptions>(), command))
    })
  return program
}

function aList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').map(word => word.trim())].filter(word => word !== '')
}

function collected(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`)
  }
}

/** A span of time in ms. */
function aSpanOfTime(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const unitMs = UNITS_MS[unit]
  if (count !== undefined && unitMs !== undefined) return Number(count) * unitMs
  throw new InvalidArgumentError('must be a number and a unit, such as 30s, 15m, 1h or 7d')
}

function anUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text
  throw new InvalidArgumentError('must be an http or https URL')
}
