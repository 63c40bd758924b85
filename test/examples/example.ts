import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import type { Grant } from '../../src/simulator/grants.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { npm } from '../hosts/installation.ts'
import { ROOT } from '../house/source-files.ts'
import { bareEnvironment } from '../support/child-environment.ts'

export const ADMIN_KEY = 'the-key-of-the-test'
const API_KEY = 'sk-of-the-test'
const ACCESS_LIFE_MS = 3_600_000

export type ExampleName = 'class-gateway' | 'axios-cluster' | 'many-users'

/** A finding, as far as the tests look at it. */
export interface ShownFinding {
  readonly kind: string
  readonly what: string
  readonly callers: readonly { readonly caller: string; readonly place?: string }[]
}

/** An example as a process of its own, and the simulated provider that it asks. */
export interface RunningExample {
  readonly url: string
  readonly simulator: Simulator
  /** A user signs in: the store of the example has the new login, whose access token is good for so long. */
  signIn(account: string, lifeMs?: number): void
  get(path: string): Promise<Response>
  post(path: string, body?: object): Promise<Response>
  /** What a scrape gets. */
  metrics(): Promise<string>
  /** Ends it as an operator does. @returns its exit code and all that it wrote */
  end(): Promise<{ readonly code: number | null; readonly output: string }>
  /** What `gatewatch diagnose` of the installed package says. */
  diagnose(): Promise<readonly ShownFinding[]>
  remove(): Promise<void>
}

/** Installs an example with the packed package, and starts it with logins for `accounts`. */
export async function startExample(name: ExampleName, accounts: readonly string[]): Promise<RunningExample> {
  const folder = mkdtempSync(join(tmpdir(), `gatewatch-${name}-`))
  const [state, loginFile] = [join(folder, 'state'), join(folder, 'logins.json')]
  await installExample(name, folder)
  const simulator = await startSimulator({ accessLifeMs: ACCESS_LIFE_MS })
  simulator.addApiKey(API_KEY, { provider: 'openai', account: 'key' })
  const logins: Record<string, Grant> = {}
  const signIn = (account: string, firstAccessLifeMs = ACCESS_LIFE_MS): void => {
    logins[account] = simulator.grantFor({ provider: 'openai-codex', account, firstAccessLifeMs })
    writeFileSync(loginFile, JSON.stringify(accounts.length === 1 ? logins[account] : logins), { mode: 0o600 })
  }
  for (const account of accounts) signIn(account)
  const child = spawn(process.execPath, ['server.js'], {
    cwd: folder,
    env: bareEnvironment({
      PROVIDER_URL: simulator.url,
      TOKEN_URL: simulator.url + TOKEN_PATHS.openai,
      LOGIN_FILE: loginFile,
      API_KEY,
      ADMIN_KEY,
      STATE: state,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', chunk => {
      output += chunk
    })
  const ended = once(child, 'close')
  const port = await portOf(createInterface({ input: child.stdout }))
  if (port === undefined) throw new Error(`${name} ended before it listened: ${output}`)
  const url = `http://127.0.0.1:${port}`
  const headers = { authorization: `Bearer ${ADMIN_KEY}` }
  return {
    url,
    simulator,
    signIn,
    get: path => fetch(url + path, { headers }),
    post: (path, body = { model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }] }) =>
      fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    metrics: async () => (await fetch(`${url}/gatewatch/metrics`, { headers })).text(),
    async end() {
      child.kill('SIGTERM')
      const [code] = await ended
      return { code, output }
    },
    async diagnose() {
      const command = join(folder, 'node_modules/.bin/gatewatch')
      // It ends with a code that says how bad the worst finding is.
      const { stdout } = await promisify(execFile)(command, ['diagnose', '--state', state, '--json']).catch(error => error)
      return JSON.parse(stdout).findings
    },
    async remove() {
      child.kill('SIGKILL')
      await ended
      await simulator.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The example depends on this repository; here on what would be published of it. */
async function installExample(name: ExampleName, folder: string): Promise<void> {
  cpSync(join(ROOT, 'examples', name), folder, { recursive: true, filter: path => !/node_modules|package-lock/.test(path) })
  const file = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  manifest.dependencies.gatewatch = `file:${inject('tarball')}`
  writeFileSync(file, JSON.stringify(manifest))
  await npm(['install', '--no-package-lock'], folder)
}

async function portOf(lines: AsyncIterable<string>): Promise<string | undefined> {
  for await (const line of lines) {
    const port = /^listening on (\d+)$/.exec(line)?.[1]
    if (port) return port
  }
  return undefined
}
