import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/output.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { REGISTER } from '../support/own-programs.ts'
import { refreshesIn, startNode } from '../watch/watched.ts'
import { startServer } from '../watch/world.ts'
import { type Ended, runCli } from './run-cli.ts'

const IS_ROOT = process.geteuid?.() === 0

interface Place {
  readonly folder: string
  readonly config: string
}

function place(): Place {
  const folder = stateFolder()
  mkdirSync(folder, { mode: 0o700 })
  const config = join(folder, '..', 'gatewatch.json')
  writeFileSync(config, JSON.stringify({ state: folder, listen: { port: 0 } }))
  return { folder, config }
}

function cli(parameters: readonly string[]): Promise<Ended> {
  const running = runCli(parameters)
  afterwards(() => running.child.kill('SIGKILL'))
  return running.ended
}

/** Every command that takes a state folder, for a folder that it may not use. */
const COMMANDS: Readonly<Record<string, (place: Place) => readonly string[]>> = {
  serve: ({ config }) => ['serve', '--config', config],
  'serve --state': ({ config, folder }) => ['serve', '--config', config, '--state', folder],
  profiles: ({ config }) => ['profiles', '--config', config],
  'profiles add': ({ folder }) => ['profiles', 'add', 'openai:x', '--provider', 'openai', '--api-key-env', 'PATH', '--state', folder],
  'profiles order': ({ folder }) => ['profiles', 'order', '--state', folder],
  'profiles import': ({ folder }) => [
    'profiles',
    'import',
    '--from',
    'codex',
    '--path',
    join(folder, '..', 'auth.json'),
    '--state',
    folder,
  ],
  status: ({ folder }) => ['status', '--state', folder],
  refreshes: ({ folder }) => ['refreshes', '--state', folder],
  diagnose: ({ folder }) => ['diagnose', '--state', folder],
  ops: ({ folder }) => ['ops', '--state', folder, '--port', '0'],
  simulate: ({ folder }) => ['simulate', '--scenario', 'normal-rotation', '--state', folder],
}

// Seen: commands worked in a state folder that another user controls, and hung on a FIFO in the place of a file.
// Why: the folder was trusted as it was found. The fix: one check before every use. Issue 1, B3.
describe.skipIf(process.platform === 'win32')('a state folder that others can write to', () => {
  it.each(Object.entries(COMMANDS))('is refused by %s, with one sentence', async (_, parametersFor) => {
    const there = place()
    chmodSync(there.folder, 0o770)
    const { code, stderr, stdout } = await cli(parametersFor(there))
    expect(stderr).toMatch(/state can be changed by other users \(mode 0770\): take that away with "chmod go-w"/)
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(stdout).toBe('')
    expect(code).not.toBe(EXIT.good)
    expect(readdirSync(there.folder)).toEqual([])
  })

  it.runIf(IS_ROOT)('because another user owns it is refused by root too', async () => {
    const there = place()
    chownSync(there.folder, 1234, 1234)
    for (const command of ['serve', 'diagnose', 'ops'])
      expect((await cli(COMMANDS[command]?.(there) ?? [])).stderr).toMatch(/belongs to user 1234, this process runs as user root/)
  })
})

describe.skipIf(process.platform === 'win32')('a recorder file', () => {
  it.each(['status', 'refreshes', 'diagnose', 'ops'])('that is a FIFO is refused by %s and not waited for', async command => {
    const there = place()
    spawnSync('mkfifo', ['-m', '600', join(there.folder, 'events.sqlite')])
    const { stderr, code } = await cli(COMMANDS[command]?.(there) ?? [])
    expect(stderr).toMatch(/events.sqlite is a FIFO, not a regular file/)
    expect(code).not.toBe(EXIT.good)
  })

  it('that is a symbolic link is not written through by a watched process, which goes on with one line', async () => {
    const { folder } = place()
    const server = await startServer(response => response.end('{"access_token":"granted"}'))
    const application = join(folder, '..', 'application.mjs')
    writeFileSync(
      application,
      `const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'a-refresh-token' })
       await (await fetch(process.argv[2], { method: 'POST', body })).text()
       console.log('the application is done')`,
    )
    const environment = { GATEWATCH_STATE: folder, GATEWATCH_TOKEN_URLS: `${server.url}/token` }
    const run = () => startNode([`--import=${REGISTER}`, application, `${server.url}/token`], environment).ended
    expect(await run()).toMatchObject({ code: 0, stderr: '' })
    expect(refreshesIn(folder)).toHaveLength(1)

    const target = join(folder, '..', 'elsewhere.sqlite')
    renameSync(join(folder, 'events.sqlite'), target)
    chmodSync(target, 0o644)
    symlinkSync(target, join(folder, 'events.sqlite'))
    const before = readFileSync(target)
    const { code, stdout, stderr } = await run()
    expect([code, stdout]).toEqual([0, 'the application is done\n'])
    expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(/events.sqlite is a symbolic link, not a regular file/)])
    expect(readFileSync(target).equals(before)).toBe(true)
  })
})

describe.skipIf(process.platform === 'win32')('a configuration', () => {
  it.each(['serve', 'profiles', 'profiles login'])('that is a FIFO is refused by %s and not waited for', async command => {
    const path = join(place().folder, 'gatewatch.json')
    spawnSync('mkfifo', [path])
    const { stderr, code } = await cli([
      ...command.split(' '),
      ...(command.includes('login') ? ['--provider', 'openai-codex'] : []),
      '--config',
      path,
    ])
    expect(stderr).toMatch(/gatewatch.json is a FIFO, not a regular file/)
    expect(code).toBe(EXIT.usage)
  })

  it('of many megabytes is refused', async () => {
    const path = join(place().folder, 'gatewatch.json')
    writeFileSync(path, ' '.repeat(5 * 1024 * 1024))
    expect((await cli(['serve', '--config', path])).stderr).toMatch(/has 5242880 bytes, more than the/)
  })
})

describe.skipIf(process.platform === 'win32')('a state folder that is a shared volume (mode 0777)', () => {
  it('holds the state of watched processes and of commands in one folder of its own, and the page says which', async () => {
    const { folder } = place()
    chmodSync(folder, 0o777)
    const own = join(folder, `gatewatch-${process.geteuid?.()}`)
    expect((await cli(COMMANDS['profiles add']?.({ folder, config: '' }) ?? [])).code).toBe(EXIT.good)
    expect(readdirSync(folder)).toEqual([own.split('/').at(-1)])
    const ops = runCli(['ops', '--state', folder, '--port', '0'])
    afterwards(() => ops.child.kill('SIGKILL'))
    expect((await ops.until(/shows +(\S+)/))[1]).toBe(own)
  })
})
