import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/output.ts'
import { diskWorld } from '../events/world.ts'
import { startNode } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { MAIN } from '../support/own-programs.ts'

const status = (...parameters: string[]) => startNode([MAIN, 'status', ...parameters]).exit

/** A folder in which one process went past the gate twice, and through it once. */
async function recorded() {
  const w = diskWorld({ title: 'app.mjs' })
  const startMs = Date.now() - 60_000
  for (const via of ['bypass', 'bypass', 'gate'] as const)
    w.refresh({ startMs, caller: `src/${via}.ts#refresh`, outcome: 'rotated', reason: 'forced', via })
  await w.store.shutdown()
  return w.folder
}

describe('gatewatch status --state', () => {
  it('says which processes recorded something, and who refreshed, how often and by which way', async () => {
    const folder = await recorded()
    const before = readFileSync(join(folder, 'events.sqlite'))
    const { code, stdout, stderr } = await status('--state', folder)
    expect({ code, stderr }).toEqual({ code: EXIT.good, stderr: '' })
    expect(stdout).toMatch(
      /^Processes\nPID +ROLE +RUNS +HOST +STARTED +NOT RECORDED\n[- ]+\n\d+ +\S+ +app\.mjs +\S+ +\d+ (?:s|min|h) ago +0\n/,
    )
    const rows = stdout.split('\n').map(line => line.split(/ {2,}/).slice(0, 5))
    expect(rows).toContainEqual(['src/bypass.ts#refresh', 'forced', 'bypass', 'rotated', '2'])
    expect(rows).toContainEqual(['src/gate.ts#refresh', 'forced', 'gate', 'rotated', '1'])
    expect(readFileSync(join(folder, 'events.sqlite')).equals(before)).toBe(true)
  })

  it('says the same as one JSON value', async () => {
    const { stdout } = await status('--state', await recorded(), '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      processes: [{ title: 'app.mjs', dropped: 0 }],
      refreshes: [
        { caller: 'src/bypass.ts#refresh', via: 'bypass', count: 2 },
        { caller: 'src/gate.ts#refresh', via: 'gate', count: 1 },
      ],
      acquisitions: [],
      fallbacks: [],
    })
  })

  it.each([['--probe'], ['--url', 'http://127.0.0.1:9'], ['--key-env', 'KEY']])(
    'is no question to a gateway: %s is refused',
    async (...asked) => {
      const { code, stderr } = await status('--state', stateFolder(), ...asked)
      expect(code).toBe(EXIT.usage)
      expect(stderr).toContain(`cannot be used with option '${asked[0]}`)
    },
  )

  it('says of a folder that is not there that nothing was recorded in it yet, and makes none', async () => {
    const { code, stderr } = await status('--state', join(stateFolder(), 'none'))
    expect(code).toBe(EXIT.usage)
    expect(stderr).toMatch(/nothing has been recorded in .* yet \(the folder does not exist\): name the state folder/)
  })
})
