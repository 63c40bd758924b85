import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const MODULE = fileURLToPath(new URL('../../src/cli/process-start.ts', import.meta.url))

/** What Node 22 says when it loads SQLite; here any Node says it, and other things. */
const SCRIPT = `
  import { leaveOutKnownWarnings } from ${JSON.stringify(MODULE)}
  const warn = process.emitWarning
  leaveOutKnownWarnings()
  process.emitWarning('SQLite is an experimental feature and might change at any time', 'ExperimentalWarning')
  process.emitWarning('something else')
  process.emitWarning('SQLite is said by the application')
  console.log(process.emitWarning === warn)
`

describe('the warnings of a command', () => {
  it('leave out what Node 22 says of SQLite, and nothing else; process.emitWarning stays as it was', () => {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', SCRIPT], { encoding: 'utf8' })
    expect(stdout.trim()).toBe('true')
    expect(stderr).not.toContain('experimental feature')
    expect(stderr).toContain('something else')
    expect(stderr).toContain('SQLite is said by the application')
  })
})
