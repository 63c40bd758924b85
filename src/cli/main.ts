#!/usr/bin/env node
import { isTooOld, LEAST_NODE } from '../tools/least-node.ts'
import { EXIT } from './output.ts'
import { leaveOutKnownWarnings, outliveClosedOutput } from './process-start.ts'

// The program is imported behind this check: on an older Node an import of what that Node lacks ends in a SyntaxError.
if (isTooOld(process.versions.node)) {
  process.stderr.write(`gatewatch: Node ${process.versions.node} is too old; Gatewatch needs Node ${LEAST_NODE} or newer\n`)
  process.exitCode = EXIT.usage
} else {
  leaveOutKnownWarnings()
  outliveClosedOutput()
  const { runProgram } = await import('./program.ts')
  process.exitCode = await runProgram(process.argv)
  // An exporter that retries at a dead address must not hold a command that is done.
  setTimeout(() => process.exit(), 500).unref()
}
