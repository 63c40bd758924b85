import { type Command, Option } from 'commander'
import { PROCESS_ROLES, VIAS } from '../domain/enums.ts'
import { WATCH_POLICIES } from '../watch/watch-policy.ts'
import { stateFolderOf } from '../watch/watch-settings.ts'
import type { CommandLine } from './command-line.ts'
import { aList, aSpanOfTime, collected, wholeNumber } from './parameters.ts'
import type { RunCommandOptions } from './run.ts'

/** The folder in which watched processes keep what was seen. */
export function stateOption(): Option {
  return new Option('--state <folder>', 'state folder of the watched processes').default(
    stateFolderOf(process.env),
    'GATEWATCH_STATE, else ~/.gatewatch',
  )
}

/** `gatewatch run` and `gatewatch refreshes`: watching a process, and reading what was seen. */
export function addWatchCommands(line: CommandLine): void {
  line
    .add('refreshes', 'list the token requests that the processes of a state folder recorded: who, why, which way, how it ended')
    .addOption(stateOption())
    .option('--follow', 'go on and show new ones as they come')
    .option('--stack', 'show the stack of each')
    .option('--since <time>', 'so far back: 30s, 15m, 1h, 7d', aSpanOfTime)
    .option('--profile <name>', 'of this profile')
    .option('--caller <text>', 'of callers whose file or function holds the text')
    .addOption(new Option('--via <door>', 'through the gate, or past it').choices(VIAS))
    .option('--limit <n>', 'so many at most', wholeNumber(1, 1_000_000), 100)
    .action(line.action(async () => (await import('./refreshes.ts')).refreshesCommand))
  line
    .add('run', 'run a command and watch it and every Node process it starts: who refreshes, why, and past which gate')
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
    .option(
      '--deep-stacks <time>',
      'note every asynchronous step for so long (30s, 10m, 1h): callers behind timers and queues, joiners of a shared refresh; makes processes several times slower',
      aSpanOfTime,
    )
    .addOption(new Option('--role <role>', 'what the process is to its profiles').choices(PROCESS_ROLES))
    .addOption(new Option('--policy <policy>', 'what is done about a bypass').choices(WATCH_POLICIES))
    .option(
      '--coalesce-window <time>',
      'with coalesce: how long a rotated token gets the newer answer (default: 10m, a day at most)',
      aSpanOfTime,
    )
    .action(async (command: string[], _options: unknown, self: Command) => {
      if (!process.argv.includes('--')) self.error('error: put -- before the command: gatewatch run [options] -- command [parameters...]')
      line.done(await (await import('./run.ts')).runCommand(self.opts<RunCommandOptions>(), command))
    })
}
