import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isOAuth, type StoredProfile } from '../../domain/credential.ts'
import type { ProcessRole } from '../../domain/enums.ts'
import { type Gatewatch, startGatewatch } from '../../gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../server/server.ts'
import { fileStore } from '../../store/file-store.ts'
import type { ProfileStore } from '../../store/profile-store.ts'
import { ownModule, preloadUrl } from '../../tools/own-module.ts'
import { type HandedSettings, SETTINGS_VARIABLE } from '../../watch/watch-settings.ts'
import type { InjectedFault } from '../fault.ts'
import type { ClientJob, ClientTokens } from './application/client.ts'
import { CLAIM, GatewayDriver, gatewaySettings, KEY_VARIABLE } from './gateway-driver.ts'
import type { GatewayJob } from './gateway-process.ts'
import { type ProviderSide, type SimulatedLogin, setProviderSide } from './provider-side.ts'
import { type KillPoint, PROFILE, type Scenario, type ScenarioStep, type Setting, type TokenChoice } from './scenario.ts'

/**
 * Plays a scenario from beginning to end: HTTP on loopback, a store of files, further processes where a step names one.
 *
 * @param signal Stops it before the next step; processes and files are removed.
 */
export async function playScenario(
  { setting = {}, steps }: Pick<Scenario, 'setting' | 'steps'>,
  state: string,
  signal?: AbortSignal,
): Promise<void> {
  const harness = await ScenarioHarness.set(setting, state)
  try {
    for (const step of steps) {
      signal?.throwIfAborted()
      await harness.play(step)
    }
  } finally {
    await harness.end()
  }
}

/** What exists from the start of a scenario to its end. */
interface Parts {
  readonly setting: Setting
  /** State folder, for all processes. */
  readonly state: string
  /** Folder of the profile store. */
  readonly profiles: string
  readonly provider: ProviderSide
  readonly store: ProfileStore
  /** The disk of the store. */
  readonly disk: { isFull: boolean }
  readonly checkpoints: Checkpoints
  readonly watch: Gatewatch
  readonly actor: GatewayDriver
  readonly children: Children
}

/** A provider, a gateway and the other processes of a scenario. */
export class ScenarioHarness {
  readonly #parts: Parts
  readonly #faults: InjectedFault[] = []
  readonly #beside: Promise<unknown>[] = []
  /** The tokens that each client ended with. */
  readonly #clients = new Map<string, ClientTokens>()
  readonly #copied: { token: string }

  private constructor(parts: Parts, copied: { token: string }) {
    this.#parts = parts
    this.#copied = copied
  }

  /** @param state Folder in which everything is recorded. */
  static async set(setting: Setting, state: string): Promise<ScenarioHarness> {
    const children = new Children()
    const checkpoints = new Checkpoints()
    const provider = await setProviderSide(setting, {
      onTokenRequest: point => {
        checkpoints.reached(point)
        return children.killThoseAt(point)
      },
    })
    const profiles = await mkdtemp(join(tmpdir(), 'gatewatch-scenario-'))
    const disk = { isFull: false }
    const store = fileStore(profiles, { onStep: () => mustHaveRoom(disk) })
    for (const login of provider.logins.values()) await keep(store, login)
    const watch = await startGatewatch({
      ...gatewaySettings(provider.simulator.url, setting),
      store,
      source: 'scenario',
      environment: { [KEY_VARIABLE]: provider.paidKey },
      processRole: 'gateway',
      recordIn: state,
    })
    const serving = await serveGatewatch(watch)
    const { tokenUrl } = provider
    const copied = { token: provider.logins.values().next().value?.grant.refresh ?? '' }
    const tokenOf = (choice: TokenChoice) => tokenFor(choice, { store, provider, copied })
    const actor = new GatewayDriver({ watch, gatewayUrl: serving.url, tokenUrl, tokenOf, claim: join(profiles, CLAIM) })
    return new ScenarioHarness({ setting, state, profiles, provider, store, disk, checkpoints, watch, actor, children }, copied)
  }

  async play(step: ScenarioStep): Promise<void> {
    const { provider, store, actor } = this.#parts
    const { simulator } = provider
    switch (step.do) {
      case 'fault':
        this.#faults.push(simulator.inject(step.fault))
        return
      case 'end_faults':
        for (const fault of this.#faults.splice(0)) fault.remove()
        return
      case 'expire_access':
        return simulator.expireAccess(step.account ?? this.#login().grant.account)
      case 'expire_grant':
        return simulator.expireGrant(step.account ?? this.#login().grant.account)
      case 'revoke':
        return simulator.revoke(this.#login(step.profile).grant.refresh)
      case 'sign_in':
        return keep(store, provider.signIn(step.profile ?? PROFILE))
      case 'copy_token':
        this.#copied.token = await storedToken(store, step.profile)
        return
      case 'store_is':
        return this.#storeIs(step)
      case 'until':
        return this.#parts.checkpoints.next(step.point)
      case 'client':
        return this.#aside(this.#client(step), step.beside)
      case 'gateway':
        return this.#aside(this.#gateway(step), step.beside)
      default:
        return actor.play(step)
    }
  }

  /** Waits for the processes that run beside the steps, stops everything and flushes the event store. */
  async end(): Promise<void> {
    const { store, watch, provider, children, profiles, disk } = this.#parts
    await Promise.allSettled(this.#beside)
    await children.stop()
    // The gateway may store a token that it could not store before, so that it closes without an error.
    disk.isFull = false
    await watch.close(0)
    await store.close()
    await provider.simulator.stop()
    await rm(profiles, { recursive: true, force: true })
  }

  #storeIs({ state, at }: ScenarioStep & { do: 'store_is' }): void {
    const { disk, checkpoints } = this.#parts
    const change = () => {
      disk.isFull = state === 'full'
    }
    if (at === undefined) change()
    else checkpoints.atNext(at, change)
  }

  async #aside(work: Promise<void>, isBeside = false): Promise<void> {
    if (isBeside) this.#beside.push(work)
    else await work
  }

  async #client({
    name,
    acts,
    token,
    profile,
    gate = [],
    role = 'cli',
    userAgent,
    killAt,
  }: ScenarioStep & { do: 'client' }): Promise<void> {
    const { provider, state, children, store } = this.#parts
    const { grant, provider: providerId } = this.#login(profile)
    const before = this.#clients.get(name) ?? { access: grant.access, refresh: grant.refresh }
    const refresh = token === undefined ? before.refresh : await tokenFor(token, { store, provider, copied: this.#copied })
    const job = {
      provider: providerId,
      tokenUrl: provider.tokenUrl,
      api: `${provider.simulator.url}/backend-api`,
      paid: { api: `${provider.simulator.url}/v1`, key: provider.paidKey },
      ...(userAgent !== undefined && { userAgent }),
      account: grant.account,
      // `undefined` vanishes in JSON: the client finds no refresh token and posts the text `undefined`.
      tokens: { ...before, ...(token === 'undefined' ? { refresh: undefined } : refresh !== undefined && { refresh }) } as ClientTokens,
      acts,
    }
    this.#clients.set(name, await children.client(job, { state, role, gate }, killAt))
  }

  async #gateway({ steps, role = 'gateway', clockAheadMs = 0, store, killAt }: ScenarioStep & { do: 'gateway' }): Promise<void> {
    const { setting, state, profiles, provider, children } = this.#parts
    const job: GatewayJob = {
      profiles: store === 'own' ? await this.#ownStore() : profiles,
      state,
      simulatorUrl: provider.simulator.url,
      tokenUrl: provider.tokenUrl,
      setting,
      role,
      clockAheadMs,
      steps,
      copiedToken: this.#copied.token,
    }
    await children.gateway(job, { [KEY_VARIABLE]: provider.paidKey }, killAt)
  }

  /** A second store, with new logins of the same accounts. */
  async #ownStore(): Promise<string> {
    const { provider, profiles } = this.#parts
    const folder = await mkdtemp(join(profiles, 'own-'))
    const store = fileStore(folder)
    for (const profile of provider.logins.keys()) await keep(store, provider.signIn(profile))
    await store.close()
    return folder
  }

  #login(profile?: string): SimulatedLogin {
    const { logins } = this.#parts.provider
    const login = profile === undefined ? logins.values().next().value : logins.get(profile)
    if (!login) throw new RangeError(`the scenario has no login ${profile ?? ''}`)
    return login
  }
}

/** Fails the write of the store with a system error. A folder without write permission would not stop a process of root. */
function mustHaveRoom({ isFull }: { isFull: boolean }): void {
  if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
}

interface TokenSources {
  readonly store: ProfileStore
  readonly provider: ProviderSide
  readonly copied: { readonly token: string }
}

async function tokenFor(choice: TokenChoice, { store, provider, copied }: TokenSources): Promise<string> {
  switch (choice) {
    case 'first':
      return provider.logins.values().next().value?.grant.refresh ?? ''
    case 'copied':
      return copied.token
    case 'current':
      return storedToken(store)
    case 'undefined':
      return 'undefined'
    case 'empty':
      return ''
    case 'garbage':
      return 'rt_of_another_login_0123456789abcdef'
    default:
      return choice satisfies never
  }
}

async function storedToken(store: ProfileStore, profile = PROFILE): Promise<string> {
  const stored = await store.reload(profile)
  return (stored && isOAuth(stored.credential) && stored.credential.refresh) || ''
}

async function keep(store: ProfileStore, { profile: id, provider, credential }: SimulatedLogin): Promise<void> {
  await store.change(id, (): StoredProfile => ({ id, provider, credential }))
}

/** Runs work, or resolves a promise, when a token request reaches a point. */
class Checkpoints {
  readonly #awaited = new Map<KillPoint, (() => void)[]>()

  /** Runs `work` once when the next token request reaches the point; the provider continues afterwards. */
  atNext(point: KillPoint, work: () => void): void {
    this.#awaited.set(point, [...(this.#awaited.get(point) ?? []), work])
  }

  next(point: KillPoint): Promise<void> {
    return new Promise(resolve => this.atNext(point, resolve))
  }

  /** A token request has reached the point. */
  reached(point: KillPoint): void {
    const awaited = this.#awaited.get(point) ?? []
    this.#awaited.delete(point)
    for (const work of awaited) work()
  }
}

const CLIENT = fileURLToPath(ownModule('simulator/scenarios/application/client'))
const GATEWAY = fileURLToPath(ownModule('simulator/scenarios/gateway-process'))
const REGISTER = preloadUrl()

/** Settings of the preload of a client. */
interface WatchedBy {
  readonly state: string
  readonly role: ProcessRole
  readonly gate: readonly string[]
}

/** The processes of a scenario in addition to the gateway's own. */
class Children {
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

  /** Kills the processes whose `killAt` is this point of a token request; resolves when they have ended. */
  async killThoseAt(point: KillPoint): Promise<void> {
    const due = [...this.#running].filter(([, killAt]) => killAt === point).map(([child]) => child)
    await Promise.all(due.map(kill))
  }

  /** Kills every process that still runs. */
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
