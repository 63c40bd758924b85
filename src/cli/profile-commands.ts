import { Option } from 'commander'
import { BILLINGS, IMPORT_SOURCES } from '../domain/enums.ts'
import type { CommandLine } from './command-line.ts'

/** `gatewatch profiles`: what a configuration holds, and how profiles come in and go. */
export function addProfileCommands(line: CommandLine): void {
  const profiles = line
    .add('profiles', 'show the profiles of a configuration and what they can do')
    // Not a required option: commander would ask for it in every command below.
    .option('--config <file>', 'configuration file (JSON)')
    .action(line.action(async () => (await import('./profiles.ts')).profilesCommand))
  line
    .add('import', 'take over the logins of another application, which is only read', profiles)
    .addOption(new Option('--from <application>', 'whose logins').choices(IMPORT_SOURCES).makeOptionMandatory())
    .option('--path <path>', 'its file or folder (default: where the application keeps it)')
    .addOption(CONFIG())
    .addOption(STATE())
    .option('--profile <name>', 'this one alone, by its name as it is shown or at the source')
    .option('--as <id>', 'what the one is called here: PROVIDER:NAME')
    .option('--take-ownership', 'take rotating refresh tokens too: the application must not use them any more')
    .option('--replace', 'put it in the place of what is stored under its name')
    .option('--dry-run', 'say what would come, and change nothing')
    .action(line.action(async () => (await import('./import.ts')).importCommand))
  line
    .add('login', 'sign in at a provider and store the login', profiles)
    .requiredOption('--provider <id>', 'provider, built in or of the configuration')
    .option('--profile <name>', 'what the profile is called (default: PROVIDER:default)')
    .addOption(CONFIG())
    .addOption(STATE())
    .option('--paste', 'for a machine without a browser: paste the address at which a browser elsewhere ended')
    .option('--device', 'enter a code on another device')
    .option('--replace-account', 'take another account than the one the profile holds')
    .action(line.action(async () => (await import('./login.ts')).loginCommand))
  line
    .add('logout', 'give a login back to its provider and forget it', profiles)
    .argument('<name>', 'profile')
    .addOption(CONFIG())
    .addOption(STATE())
    .option('--force', 'forget it even if the provider does not take it back')
    .action(line.action(async () => (await import('./logout.ts')).logoutCommand, 'name'))
  line
    .add('order', 'set or show the order in which profiles are tried', profiles)
    .argument('[names...]', 'profiles; those not named are not used')
    .addOption(CONFIG())
    .addOption(STATE())
    .option('--clear', 'take the order back')
    .action(line.action(async () => (await import('./profile-order.ts')).orderCommand, 'names'))
  line
    .add('add', 'add a profile with an API key, by the variable that holds it', profiles)
    .argument('<name>', 'what the profile is called')
    .requiredOption('--provider <id>', 'provider, built in or of the configuration')
    .requiredOption('--api-key-env <name>', 'environment variable that holds the key where the gateway runs')
    .addOption(new Option('--billing <how>', 'how it pays (default: metered)').choices(BILLINGS))
    .addOption(CONFIG())
    .addOption(STATE())
    .action(line.action(async () => (await import('./profile-add.ts')).addCommand, 'name'))
  line
    .add('wake', 'end the rest of a profile whose cause is over, such as a bill that was paid', profiles)
    .argument('<name>', 'profile')
    .addOption(CONFIG())
    .addOption(STATE())
    .action(line.action(async () => (await import('./profile-wake.ts')).wakeCommand, 'name'))
  line
    .add('rename', 'give a profile another name', profiles)
    .argument('<name>', 'profile')
    .argument('<new-name>', 'what it is called from now on')
    .addOption(CONFIG())
    .addOption(STATE())
    .action(line.action(async () => (await import('./profile-rename.ts')).renameCommand, 'name', 'newName'))
}

const CONFIG = () => new Option('--config <file>', 'configuration file (default: gatewatch.json, if there is one here)')
const STATE = () => new Option('--state <folder>', 'state folder, without a configuration')
