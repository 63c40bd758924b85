import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SPAN_LOGIN } from '../../otel/semconv.ts'
import { EXIT } from '../../src/cli/output.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { AUTHORIZE_PATHS } from '../../src/simulator/sign-in.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { startNode } from '../support/child-process.ts'
import { MAIN } from '../support/own-programs.ts'
import { recordedSpans } from '../support/recorded-spans.ts'
import { type Ended, type Running, runCli } from './run-cli.ts'

/** For tests of many commands, each a process of its own: they take a second of a core each, several on a busy machine. */
const LONG_MS = 120_000
const SECRET_LOOKALIKE = 'sk-live-Qb7xW2mKfT9zLr4H'
let folder = ''
let simulator: Simulator
const running: Running[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewatch-profiles-'))
  simulator = await startSimulator()
})

afterEach(async () => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL')
  await simulator.stop()
  await rm(folder, { recursive: true, force: true })
})

const stateFolder = () => join(folder, 'gatewatch-state')
const configPath = () => join(folder, 'gatewatch.json')

function start(...parameters: string[]): Running {
  const command = runCli(['profiles', ...parameters, '--config', configPath()], { environment: { OPENAI_API_KEY: 'a-key' } })
  running.push(command)
  return command
}

const run = (...parameters: string[]): Promise<Ended> => start(...parameters).ended

async function configure(more: object = {}): Promise<string> {
  const { url } = simulator
  const acme = {
    baseUrl: `${url}/v1`,
    tokenUrl: url + TOKEN_PATHS.plain,
    clientId: 'a-client',
    authorizationUrl: url + AUTHORIZE_PATHS.plain,
    issuer: 'https://simulator.invalid',
  }
  const text = JSON.stringify({ providers: { acme }, ...more })
  await writeFile(configPath(), text)
  return text
}

async function storeLogin(id: string): Promise<void> {
  const { access, refresh, expiresAt } = simulator.grantFor({ provider: 'acme', account: 'me' })
  const profile: StoredProfile = { id, provider: 'acme', credential: { type: 'oauth', access, refresh, expiresAt, generation: 2 } }
  const store = fileStore(stateFolder())
  await store.change(id, () => profile)
  await store.close()
}

async function stored(): Promise<readonly StoredProfile[]> {
  const store = fileStore(stateFolder())
  const profiles = await store.list()
  await store.close()
  return profiles
}

describe('gatewatch profiles login', () => {
  it('given up with Ctrl-C leaves nothing but a span that says so', async () => {
    await configure()
    const command = start('login', '--provider', 'acme')
    await command.until(/Sign in at acme: open/)
    command.child.kill('SIGINT')
    const { code, stderr } = await command.ended
    expect([code, stderr]).toEqual([EXIT.dead, 'gatewatch: the login was given up; nothing was stored\n'])
    expect(await stored()).toEqual([])
    const spans = recordedSpans(stateFolder())
    expect(spans.map(({ name }) => name)).toEqual([SPAN_LOGIN])
  })

  it('takes what is pasted on its input, after lines that are no address, and shows none of it', async () => {
    await configure()
    const child = startNode([MAIN, 'profiles', 'login', '--provider', 'acme', '--paste', '--json', '--config', configPath()])
    const { url } = JSON.parse(await child.line())
    const redirect = await fetch(`${url}&account=me`, { redirect: 'manual' })
    const address = redirect.headers.get('location') ?? ''
    child.say(`no address\n${address}\n`)
    const { code, stdout, stderr } = await child.exit
    expect(code).toBe(EXIT.good)
    expect(stderr).toContain('there is no code in that')
    expect(stdout.slice(stdout.indexOf('\n')) + stderr).not.toContain(new URL(address).searchParams.get('code'))
    expect((await stored()).map(({ id }) => id)).toEqual(['acme:default'])
  })

  it('prints one JSON value a line with --json', async () => {
    await configure()
    const command = start('login', '--provider', 'acme', '--json', '--profile', 'acme:me')
    const [, url] = await command.until(/"url":"([^"]+)"/)
    await fetch(`${url}&account=me`)
    const lines = (await command.ended).stdout.trim().split('\n')
    expect(lines.map(line => JSON.parse(line))).toMatchObject([
      { event: 'sign_in', limitSeconds: 600 },
      { event: 'signed_in', profile: 'acme:me', replaced: false, refreshable: true },
    ])
  })

  it.each([
    [['--provider', 'missing'], /no provider is called "missing"/],
    [['--provider', 'acme', '--paste', '--device'], /choose one/],
    [['--provider', 'acme', '--device'], /set providers\.acme\.deviceUrl, or sign in without --device/],
    [['--provider', 'acme', '--profile', 'acme:key'], /takes its key from a variable/],
  ])('%j ends with 64 and says why', async (parameters, message) => {
    await configure({ profiles: { 'acme:key': { provider: 'acme', apiKeyEnv: 'OPENAI_API_KEY' } } })
    const { code, stderr } = await run('login', ...parameters)
    expect(stderr).toMatch(message)
    expect(code).toBe(EXIT.usage)
  })
})

describe('gatewatch profiles add, order, rename and logout', () => {
  // Seen: `profiles add ''` stored a profile that no command could name. Issue "1 of 6".
  it.each([
    [['add', '', '--provider', 'openai', '--api-key-env', 'OPENAI_API_KEY'], 'profiles add: the name of the profile is empty'],
    [['add', ' ', '--provider', 'openai', '--api-key-env', 'OPENAI_API_KEY'], 'profiles add: the name of the profile is empty'],
    [['add', 'a\nb', '--provider', 'openai', '--api-key-env', 'OPENAI_API_KEY'], 'a text with control characters'],
    [['rename', 'acme:me', ''], 'profiles rename: the name of the profile is empty'],
    [['login', '--provider', 'acme', '--profile', ''], '--profile: the name of the profile is empty'],
    [['import', '--from', 'codex', '--as', ''], '--as: the name of the profile is empty'],
  ])('%j is refused, for the name', async (parameters, message) => {
    await configure()
    const { code, stderr } = await run(...parameters)
    expect(stderr).toContain(message)
    expect(code).toBe(EXIT.usage)
  })

  it('keep what they set beside the profiles, and never rewrite the configuration', { timeout: LONG_MS }, async () => {
    const written = await configure()
    await storeLogin('acme:me')
    expect((await run('add', 'openai:main', '--provider', 'openai', '--api-key-env', 'OPENAI_API_KEY')).code).toBe(EXIT.good)
    expect((await run('order', 'openai:main', 'acme:me')).stdout).toMatch(/^openai:main\nacme:me\n/)
    expect((await run('rename', 'acme:me', 'acme:work')).stdout).toBe('acme:me is called acme:work now\n')
    expect((await run('order')).stdout).toBe(`openai:main\nacme:work\n\n(from ${stateFolder()})\n`)
    expect(await stored()).toMatchObject([{ id: 'acme:work', credential: { generation: 2 } }])
    const shown = await run()
    expect(shown.stdout).toMatch(/openai:main\s+api_key\s+metered\s+ready/)
    expect(shown.stdout).toMatch(/acme:work\s+oauth/)
    const { mode } = await stat(join(stateFolder(), 'settings.json'))
    expect((mode & 0o777).toString(8)).toBe('600')
    expect((await run('logout', 'acme:work', '--force')).code).toBe(EXIT.warning)
    expect((await run('order')).stdout).toMatch(/^openai:main\n/)
    expect(await stored()).toEqual([])
    expect(await readFile(configPath(), 'utf8')).toBe(written)
  })

  it('refuse what the configuration says itself', { timeout: LONG_MS }, async () => {
    await storeLogin('acme:me')
    await configure({ order: ['acme:me'] })
    for (const parameters of [
      ['order', 'acme:me'],
      ['order', '--clear'],
      ['rename', 'acme:me', 'acme:other'],
    ]) {
      const { code, stderr } = await run(...parameters)
      expect(stderr).toContain('is not rewritten')
      expect(code).toBe(EXIT.usage)
    }
    // Seen: the advice was a command that refuses, since the file sets the order.
    const added = await run('add', 'openai:main', '--provider', 'openai', '--api-key-env', 'OPENAI_API_KEY')
    expect(added.stdout).toContain(`no call will use it: add openai:main to "order" in ${configPath()}`)
    expect((await run('logout', 'acme:me', '--force')).stdout).toContain(`${configPath()} still names it`)
  })

  it('refuse names that are taken, unknown or given twice, and a key in the place of its variable', { timeout: LONG_MS }, async () => {
    await configure()
    await storeLogin('acme:me')
    await storeLogin('acme:other')
    const refusals = [
      [['add', 'acme:me', '--provider', 'acme', '--api-key-env', 'OPENAI_API_KEY'], /there is a profile acme:me already/],
      [['add', 'acme:new', '--provider', 'acme', '--api-key-env', SECRET_LOOKALIKE], /wants the name of an environment variable/],
      [['rename', 'acme:me', 'acme:other'], /there is a profile acme:other already/],
      [['rename', 'acme:me', 'acme:me'], /is called acme:me already/],
      [['order', 'acme:me', 'acme:me'], /is named twice/],
      [['order', 'acme:me', 'acme:missing'], /no profile is called acme:missing; known: acme:me, acme:other/],
      [['logout', 'acme:missing'], /no profile is called acme:missing/],
    ] as const
    for (const [parameters, message] of refusals) {
      const { code, stdout, stderr } = await run(...parameters)
      expect(stderr).toMatch(message)
      expect(stdout + stderr).not.toContain(SECRET_LOOKALIKE)
      expect(code).toBeGreaterThan(0)
    }
  })

  it('finish a rename that was cut short', async () => {
    await configure()
    await storeLogin('acme:me')
    const store = fileStore(stateFolder())
    const [profile] = await store.list()
    await store.change('acme:work', () => profile && { ...profile, id: 'acme:work' })
    await store.close()
    expect((await run('rename', 'acme:me', 'acme:work')).code).toBe(EXIT.good)
    expect((await stored()).map(({ id }) => id)).toEqual(['acme:work'])
  })

  it('say where the profiles are looked for when no option names a place', async () => {
    const { code, stderr } = await runCli(['profiles', 'order']).ended
    expect(stderr).toContain('--config FILE or --state FOLDER')
    expect(code).toBe(EXIT.usage)
  })

  it('leave a settings file alone that is not theirs', async () => {
    await configure()
    await storeLogin('acme:me')
    const path = join(stateFolder(), 'settings.json')
    await writeFile(path, '{"format":"gatewatch-set')
    const { code, stderr } = await run('order', 'acme:me')
    expect(stderr).toContain(path)
    expect(code).toBe(EXIT.usage)
    expect(await readFile(path, 'utf8')).toBe('{"format":"gatewatch-set')
  })
})
