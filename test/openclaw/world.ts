import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Grant, GrantOptions } from '../../src/simulator/grants.ts'
import type { SimulatorOptions } from '../../src/simulator/simulator.ts'
import type { Exit } from '../support/child-process.ts'
import { afterwards } from '../support/clean-up.ts'
import { runToItsEnd } from '../support/process-group.ts'
import { recordedSpans } from '../support/recorded-spans.ts'
import { startStandIn } from './stand-in.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const ACCOUNT = 'account-openclaw'
const MODEL = 'openai-codex/gpt-5.5'
/** A start of OpenClaw takes some ten seconds of one core, on a busy machine several times that. */
const LONGEST_RUN_MS = 120_000

/**
 * A user's home with an OpenClaw in it, watched, on a machine whose internet is the simulator. Gone after the test.
 *
 * @param openClaw Folder of the package.
 */
export async function openClawWorld(openClaw: string, simulated: SimulatorOptions = {}) {
  const home = mkdtempSync(join(tmpdir(), 'gatewatch-openclaw-'))
  afterwards(() => rmSync(home, { recursive: true, force: true, maxRetries: 5 }))
  const standIn = await startStandIn(home, { account: ACCOUNT, ...simulated })
  afterwards(() => standIn.stop())
  const state = join(home, 'state')
  const store = new OpenClawHome(home)
  const runtime = join(openClaw, 'dist', 'plugin-sdk', 'agent-runtime.js')

  /** Runs a script under `gatewatch run`. @param config The configuration folder of the process that starts it. */
  const watched = (parameters: readonly string[], config = 'config', options: readonly string[] = []): Promise<Exit> => {
    const watch = [MAIN, 'run', '--preset', 'openclaw', '--state', state, ...options, '--', process.execPath]
    // Nothing else of this environment: it may hold keys, and proxies of its own.
    const environment = { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: join(home, config), ...standIn.environment }
    return runToItsEnd([...watch, ...parameters], { cwd: home, env: environment, longestMs: LONGEST_RUN_MS })
  }
  return {
    simulator: standIn.simulator,
    requests: standIn.requests,
    state,
    /** Signs in; the first access token is expired. */
    login: (options: Partial<GrantOptions> = {}): Grant =>
      standIn.simulator.grantFor({ provider: 'openai-codex', account: ACCOUNT, firstAccessLifeMs: -60_000, ...options }),
    keep: (grant: Grant) => store.keep(grant),
    credential: credentialOf,
    /** `openclaw agent --local`: a turn in a process of its own. */
    turn: (config?: string) => watched([join(openClaw, 'openclaw.mjs'), 'agent', '--local', '--session-id', 's1', '-m', 'hi'], config),
    /** Several turns in one process. */
    turns: (count: number, pauseMs: number) => watched([scriptAt('turns.mjs'), runtime, String(count), String(pauseMs)]),
    plugin: (credential: object, ...options: string[]) =>
      watched([scriptAt('plugin.mjs'), runtime, JSON.stringify(credential)], undefined, options),
    /** What `gatewatch refreshes` prints. */
    report: async (...parameters: string[]) => {
      const { stdout, stderr, code } = await runToItsEnd([MAIN, 'refreshes', '--state', state, ...parameters], {
        cwd: home,
        env: process.env,
        longestMs: LONGEST_RUN_MS,
      })
      if (code !== 0) throw new Error(`gatewatch refreshes ended with ${code}: ${stderr}`)
      return stdout
    },
    /** Everything recorded, the oldest first. */
    spans: () => recordedSpans(state),
    /** Everything the watch has left on disk. */
    leftOnDisk: () =>
      readdirSync(state)
        .map(name => readFileSync(join(state, name), 'latin1'))
        .join('\n'),
  }
}

/** OpenClaw's files in a user's home. */
class OpenClawHome {
  readonly #folder: string

  constructor(home: string) {
    this.#folder = join(home, '.openclaw')
    mkdirSync(this.#agent(), { recursive: true })
    // Its own runtime; the other one is the Codex CLI.
    const models = { [MODEL]: { agentRuntime: { id: 'pi' } } }
    writeFileSync(join(this.#folder, 'openclaw.json'), JSON.stringify({ agents: { defaults: { model: { primary: MODEL }, models } } }))
  }

  keep(grant: Grant): void {
    const profiles = { 'openai-codex:default': credentialOf(grant) }
    writeFileSync(join(this.#agent(), 'auth-profiles.json'), JSON.stringify({ version: 1, profiles }), { mode: 0o600 })
  }

  #agent(): string {
    return join(this.#folder, 'agents', 'main', 'agent')
  }
}

/** A login as OpenClaw keeps it. */
function credentialOf({ access, refresh, expiresAt: expires, account: accountId }: Grant): object {
  return { type: 'oauth', provider: 'openai-codex', access, refresh, expires, accountId, email: 'someone@example.com' }
}

function scriptAt(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
