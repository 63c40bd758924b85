import { expect, it } from 'vitest'
import { startNode } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { SOURCE_MAIN } from '../support/own-programs.ts'

/** Writes the modules that were loaded as the last line on stderr. */
const LIST_LOADED = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  const loaded = []
  registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
  process.on('exit', () => process.stderr.write('\\n' + JSON.stringify(loaded)))`)}`

/** Paths in the repository, and packages by name. */
async function loadedBy(...parameters: string[]): Promise<string[]> {
  const { stderr } = await startNode([`--import=${LIST_LOADED}`, SOURCE_MAIN, ...parameters]).exit
  const urls = JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as string[]
  return urls.filter(url => url.startsWith('file:'))
}

// Seen: `gatewatch --version` loaded 840 modules and took 0.43 s. Why: the command line imported every command, and each of them
// the gateway for the name of a file. Fix: a command's modules are imported when it runs. Issue 23, points 2 and 10.
it.each([
  ['--version'],
  ['run', '--state', '', '--', process.execPath, '-e', '0'],
  ['refreshes', '--state', ''],
  ['status', '--state', ''],
  ['diagnose', '--state', ''],
])('gatewatch %s loads no gateway', async (...parameters) => {
  const folder = stateFolder()
  const loaded = await loadedBy(...parameters.map(text => (text === '' ? folder : text)))
  expect(loaded.filter(url => /\/src\/cli\//.test(url)).length).toBeGreaterThan(2)
  expect(loaded.filter(url => /\/src\/(?:gatewatch|gateway|server\/server|simulator\/simulator)\.ts$/.test(url))).toEqual([])
})
