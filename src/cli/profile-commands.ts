import type { CommandLine } from './command-line.ts'
import { profilesCommand } from './profiles.ts'

/** `gatewatch profiles`: what a configuration holds, and how profiles come in and go. */
export function addProfileCommands(line: CommandLine): void {
  line
    .add('profiles', 'show the profiles of a configuration and what they can do')
    .requiredOption('--config <file>', 'configuration file (JSON)')
    .action(line.action(profilesCommand))
}
