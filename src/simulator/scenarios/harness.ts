import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isOAuth, type StoredProfile } from '../../domain/credential.ts'
import { createGatewatch, type Gatewatch } from '../../gatewatch.ts'
import { fileStore } from '../../store/file-store.ts'
import type { ProfileStore } from '../../store/profile-store.ts'
import type { InjectedFault } from '../fault-injector.ts'
import type { ClientTokens } from './application/client-job.ts'
import { Checkpoints } from './checkpoints.ts'
import { Children } from './children.ts'
import { CLAIM, GatewayDriver } from './gateway-driver.ts'
import type { GatewayJob } from './gateway-process.ts'
import { gatewaySettings, KEY_VARIABLE } from './gateway-settings.ts'
import { type ProviderSide, type SimulatedLogin, setProviderSide } from './provider-side.ts'
import { PROFILE, type Scenario, type Setting } from './scenario.ts'
import type { ScenarioStep, TokenChoice } from './step.ts'

/**
 * Plays a scenario from beginning to end: real HTTP on loopback, a store of files, other processes where it says so.
 *
 * @param signal Breaks it off before the next step; what was begun is cleared away.
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

/** The parts of a stage that stand for the whole play. */
interface Parts {
  readonly setting: Setting
  /** Folder of the recorder, for all processes. */
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

/** A provider, a gateway and whoever else a scenario needs. */
export class ScenarioHarness {
  readonly #parts: Parts
  readonly #faults: InjectedFault[] = []
  readonly #beside: Promise<unknown>[] = []
  /** What each client had at its end. */
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
    const watch = await createGatewatch({
      ...gatewaySettings(provider.simulator.url, setting),
      store,
      source: 'scenario',
      environment: { [KEY_VARIABLE]: provider.paidKey },
      processRole: 'gateway',
      recordIn: state,
    })
    const serving = await watch.serve()
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

  /** Waits for whoever plays beside, stops everything and writes what was recorded. */
  async end(): Promise<void> {
    const { store, watch, provider, children, profiles, disk } = this.#parts
    await Promise.allSettled(this.#beside)
    await children.stop()
    // There is room again at the end of the play: a token that could not be stored is no fault of it.
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
      // Of a token that is missing nothing is told: the client makes of it what it makes of it.
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

  /** A store beside that of the stage, with a login of its own of the same accounts. */
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

/** The store sees a real failure of its write; a folder without write permission would not stop an administrator. */
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
      return 'rt_of_somebody_else_0123456789abcdef'
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
