import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const MODULE = fileURLToPath(new URL('../../src/tools/quiet-sqlite.ts', import.meta.url))

/** Node 22 warns while it loads the module; here any Node does, and says something else besides. */
const SCRIPT = `
  import { quietSqlite } from ${JSON.stringify(MODULE)}
  const load = process.getBuiltinModule
  process.getBuiltinModule = name => {
    process.emitWarning('SQLite is an experimental feature and might change at any time', 'ExperimentalWarning')
    process.emitWarning('something else')
    return load(name)
  }
  const warn = process.emitWarning
  new (quietSqlite().DatabaseSync)(':memory:').close()
  console.log(process.emitWarning === warn)
  process.emitWarning('SQLite is said by the application')
`

describe('node:sqlite, loaded quietly', () => {
  it('keeps its own warning off stderr, lets the others through, and leaves nothing replaced', () => {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', SCRIPT], { encoding: 'utf8' })
    expect(stdout.trim()).toBe('true')
    expect(stderr).not.toContain('experimental feature')
    expect(stderr).toContain('something else')
    expect(stderr).toContain('SQLite is said by the application')
  })
})
