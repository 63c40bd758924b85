import { Option } from 'commander'
import type { CommandLine } from './command-line.ts'
import { anUrl, KEY_ENV_HELP, wholeNumber } from './parameters.ts'

/** `gatewatch serve|demo|status`: a gateway, and asking one. */
export function addGatewayCommands(line: CommandLine): void {
  line
    .add('serve', 'run the gateway')
    .requiredOption('--config <file>', 'configuration file (JSON)')
    .option(
      '--state <folder>',
      'folder that keeps what was seen on disk too, with that of watched processes (default: GATEWATCH_STATE, else none)',
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
    .add('status', 'ask a running gateway for its profiles and who refreshes; or say it of what watched processes recorded')
    .option('--url <url>', 'address of the gateway (default: where the gatewatch.json here listens, else http://127.0.0.1:8089)', anUrl)
    .option('--key-env <name>', KEY_ENV_HELP)
    .option('--probe', 'let the gateway probe every profile first, the way a call would go')
    .addOption(
      new Option('--state <folder>', 'state folder of watched processes, read in place of asking a gateway').conflicts([
        'url',
        'keyEnv',
        'probe',
      ]),
    )
    .action(line.action(async () => (await import('./status.ts')).statusCommand))
}
