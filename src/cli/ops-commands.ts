import { Option } from 'commander'
import type { CommandLine } from './command-line.ts'
import { wholeNumber } from './parameters.ts'
import { stateOption } from './watch-commands.ts'

/** `gatewatch ops`: what watched processes recorded, in the browser. */
export function addOpsCommands(line: CommandLine): void {
  line
    .add('ops', 'show what the processes of a state folder recorded, as a page in the browser, on loopback alone')
    .addOption(stateOption())
    .option('--port <port>', 'port of the page, 0 for a free one', wholeNumber(0, 65_535), 8090)
    .addOption(new Option('--open <answer>', 'open it in the browser of this machine').choices(['yes', 'no']).default('no'))
    .action(line.action(async () => (await import('./ops.ts')).opsCommand))
}
