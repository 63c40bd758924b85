import { Command } from 'commander'
import { packageVersion } from '../tools/own-package.ts'
import type { ExitCode } from './exit-code.ts'
import { type Output, processOutput } from './output.ts'

/** What a command reports while it runs. */
export interface CommandListener {
  /** Its options are read, and it begins. */
  begins(isJson: boolean): void
  done(code: number): void
}

/** The command line while its commands are put together. */
export class CommandLine {
  readonly program: Command
  readonly #reported: CommandListener

  constructor(reported: CommandListener) {
    this.#reported = reported
    this.program = new Command('gatewatch')
      .description('Know who refreshed the token, why, and whether they went through the gate.')
      .version(packageVersion())
      .option('--json', 'print JSON, one value a line')
      .exitOverride()
      .enablePositionalOptions()
  }

  /** A command that prints a result, for people or as JSON. @param group The command it belongs below. @default the program */
  add(name: string, description: string, group: Command = this.program): Command {
    return group.command(name).description(description).option('--json', 'print JSON, one value a line').exitOverride()
  }

  /** A command that holds others. */
  addGroup(name: string, description: string): Command {
    return this.program.command(name).description(description).exitOverride()
  }

  /**
   * Runs a command with its options and its arguments under the names given, and reports how it ended.
   *
   * @param load Imports the command: a process loads the modules of the one command that it runs.
   */
  action<O>(load: () => Promise<(options: O, output: Output) => Promise<ExitCode>>, ...argumentNames: string[]) {
    return async (...given: unknown[]): Promise<void> => {
      const self = given.at(-1) as Command
      const { json, ...options } = self.optsWithGlobals()
      const words = Object.fromEntries(argumentNames.map((name, index) => [name, given[index]]))
      this.#reported.begins(json === true)
      const command = await load()
      this.done(await command({ ...options, ...words } as O, processOutput(json === true)))
    }
  }

  done(code: number): void {
    this.#reported.done(code)
  }
}
