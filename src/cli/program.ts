import { CommanderError } from 'commander'
import { GatewayError } from '../domain/gateway-error.ts'
import { redactText } from '../telemetry/redaction-patterns.ts'
import { CommandLine } from './command-line.ts'
import { addDashboardCommands } from './dashboard-commands.ts'
import { addDiagnoseCommands } from './diagnose-commands.ts'
import { EXIT } from './exit-code.ts'
import { addGatewayCommands } from './gateway-commands.ts'
import { addOpsCommands } from './ops-commands.ts'
import { processOutput } from './output.ts'
import { addProfileCommands } from './profile-commands.ts'
import { unsavedIn } from './unsaved.ts'
import { addWatchCommands } from './watch-commands.ts'

/** Runs one command. What goes wrong is a line on stderr and an exit code; a stack stands for a fault of ours alone. */
export async function runProgram(parameters: string[]): Promise<number> {
  let exitCode: number = EXIT.good
  let isJson = false
  const line = new CommandLine({
    begins: asJson => {
      isJson = asJson
    },
    done: code => {
      exitCode = code
    },
  })
  for (const addCommands of [
    addGatewayCommands,
    addProfileCommands,
    addWatchCommands,
    addOpsCommands,
    addDashboardCommands,
    addDiagnoseCommands,
  ])
    addCommands(line)
  try {
    await line.program.parseAsync(parameters)
    return exitCode
  } catch (thrown) {
    const unsaved = unsavedIn(thrown)
    const error = unsaved ?? thrown
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage
    const output = processOutput(isJson)
    if (!(error instanceof GatewayError)) {
      output.note(`gatewatch: a fault of Gatewatch itself; please report it\n${redactText(String((error as Error).stack ?? error))}`)
      return EXIT.fault
    }
    output.note(
      output.isJson
        ? JSON.stringify({ error: { code: error.code, message: error.message, next: error.next } })
        : `gatewatch: ${error.message}`,
    )
    if (unsaved) return EXIT.unsaved
    return error.code === 'GW_CONFIG' ? EXIT.usage : EXIT.dead
  }
}
