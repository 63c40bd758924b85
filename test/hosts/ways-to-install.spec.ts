import { execFile } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
const MOST_BYTES = 12_000_000
const run = promisify(execFile)

/** In each of them npm runs `prepare`, which builds: `dist` is in no commit. */
describe('a fresh clone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-install-'))
  const clone = join(folder, 'clone')

  beforeAll(async () => {
    const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
    const files = stdout.split('\0').filter(path => path !== '' && existsSync(join(ROOT, path)))
    for (const file of files) cpSync(join(ROOT, file), join(clone, file))
    await run('git', ['init', '--quiet'], { cwd: clone })
    await run('git', ['add', '--all'], { cwd: clone })
    await run('git', ['-c', 'user.name=a', '-c', 'user.email=a@localhost', 'commit', '--quiet', '--message=all'], { cwd: clone })
    await npm(['ci'], clone)
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('gives the command by `npm install -g .`, and still after another build', async () => {
    const prefix = join(folder, 'linked')
    await npm(['install', '--global', '--prefix', prefix, '.'], clone)
    await expectCommand(join(prefix, 'bin/gatewatch'))
    await npm(['run', 'build'], clone)
    await expectCommand(join(prefix, 'bin/gatewatch'))
  })

  it('gives the command by `npm pack`', async () => {
    const prefix = join(folder, 'packed')
    await npm(['pack', '--pack-destination', folder], clone)
    await npm(['install', '--global', '--prefix', prefix, join(folder, `gatewatch-${version}.tgz`)], folder)
    await expectCommand(join(prefix, 'bin/gatewatch'))
  })

  it('gives command and library as a Git dependency, and weighs with its dependencies less than 12 MB', async () => {
    const application = join(folder, 'application')
    mkdirSync(application)
    writeFileSync(join(application, 'package.json'), '{ "type": "module" }')
    await npm(['install', `git+file://${clone}`, '@opentelemetry/api'], application)
    await expectCommand(join(application, 'node_modules/.bin/gatewatch'))
    const program = "import { createGatewatch } from 'gatewatch'; await (await createGatewatch()).close(); console.log('closed')"
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], { cwd: application })
    expect(stdout).toBe('closed\n')
    const installed = globSync('node_modules/**', { cwd: application }).map(path => statSync(join(application, path)))
    expect(installed.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)).toBeLessThan(MOST_BYTES)
  }, 240_000)

  async function expectCommand(path: string): Promise<void> {
    const { stdout } = await run(path, ['--version'], { cwd: folder })
    expect(stdout).toBe(`${version}\n`)
  }
})

async function npm(parameters: readonly string[], cwd: string): Promise<void> {
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  await run('npm', [...parameters, ...quiet], { cwd, maxBuffer: 64 * 1024 * 1024 })
}
