import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ProcessRole } from '../../domain/enums.ts'
import { type HandedSettings, SETTINGS_VARIABLE } from '../../watch/watch-settings.ts'
import type { ClientJob, ClientTokens } from './application/client-job.ts'
import type { KillPoint } from './step.ts'

/** Sources run as they are, what is published runs compiled. */
const ENDING = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const CLIENT = fileURLToPath(new URL(`./application/client.${ENDING}`, import.meta.url))
const GATEWAY = fileURLToPath(new URL(`./gateway-process.${ENDING}`, import.meta.url))
const REGISTER = new URL(`../../register.${ENDING}`, import.meta.url).href

/** What the recorder of a client is told about. */
export interface WatchedBy {
  readonly state: string
  readonly role: ProcessRole
  readonly gate: readonly string[]
}

/** The processes of a scenario in addition to the gateway's own. */
export class Children {
  readonly #running = new Map<ChildProcess, KillPoint | undefined>()

  /** Runs the independent client to its end, watched. @returns The tokens it ended with, or those it had when it was killed. */
  async client(job: ClientJob, { state, role, gate }: WatchedBy, killAt?: KillPoint): Promise<ClientTokens> {
    const settings: HandedSettings = {
      state,
      role,
      gate,
      tokenUrls: { [job.tokenUrl]: job.provider },
      apis: { [job.api]: job.provider, [job.paid.api]: 'openai' },
    }
    const environment = { NODE_OPTIONS: `--import=${REGISTER.replaceAll('"', '%22')}`, [SETTINGS_VARIABLE]: JSON.stringify(settings) }
    const said = await this.#run([CLIENT, JSON.stringify(job)], environment, killAt)
    return said === '' ? job.tokens : (JSON.parse(said) as ClientTokens)
  }

  /** Runs a second gateway to its end. @param job What `gateway-process.ts` reads. */
  async gateway(job: unknown, environment: Readonly<Record<string, string>>, killAt?: KillPoint): Promise<void> {
    await this.#run([GATEWAY, JSON.stringify(job)], environment, killAt)
  }

  /** The provider has come so far with a token request: whoever is to be killed at this point is dead when this resolves. */
  async killThoseAt(point: KillPoint): Promise<void> {
    const due = [...this.#running].filter(([, killAt]) => killAt === point).map(([child]) => child)
    await Promise.all(due.map(kill))
  }

  /** Ends whoever still runs. */
  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map(kill))
  }

  async #run(parameters: readonly string[], environment: Readonly<Record<string, string>>, killAt: KillPoint | undefined): Promise<string> {
    const child = spawn(process.execPath, parameters, {
      env: { PATH: process.env.PATH ?? '', ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#running.set(child, killAt)
    let said = ''
    child.stdout.on('data', chunk => {
      said += chunk
    })
    const killed = await new Promise<boolean>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (_code, signal) => resolve(signal !== null))
    })
    this.#running.delete(child)
    return killed ? '' : said
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}
