import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import type { CallerSite } from '../../src/domain/caller-site.ts'
import type { OAuthCredential, StoredProfile } from '../../src/domain/credential.ts'
import { type Gatewatch, type StartOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import type { AcquireRequest } from '../../src/refresh/acquire.ts'
import { RefreshGate, type RefreshGateOptions } from '../../src/refresh/refresh-gate.ts'
import type { Grant, GrantOptions } from '../../src/simulator/grants.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { afterwards } from './clean-up.ts'
import { type ObservedTelemetry, observedTelemetry } from './observed-telemetry.ts'
import { TestClock } from './test-clock.ts'

export const PROVIDER = 'openai-codex'
export const ACCOUNT = 'acct-1'
export const PROFILE = `${PROVIDER}:me@example.com`
const HOUR = 3_600_000

/** What the settings of a gateway say about a provider that a simulator plays. */
export function providersAt(url: string) {
  return {
    'openai-codex': { baseUrl: `${url}/backend-api`, tokenUrl: url + TOKEN_PATHS.openai, clientId: 'app_test' },
    anthropic: { baseUrl: `${url}/anthropic`, tokenUrl: url + TOKEN_PATHS.anthropic, clientId: 'app_test' },
    openai: { baseUrl: `${url}/v1` },
  }
}

/** A caller site as the door would take it. */
export function callerAt(functionName: string, file = 'app/agent.ts'): CallerSite {
  const frame = { functionName, file, line: 7, column: 3, kind: 'application', isAsync: false } as const
  return { kind: 'code', label: `${file}#${functionName}`, frame, frames: [frame], stackId: 'abcdef012345' }
}

/** A stored profile that holds what a login brought. */
export function profileOf(grant: Grant, changes: Partial<OAuthCredential> = {}, id = PROFILE): StoredProfile {
  const { access, refresh, idToken, expiresAt, account } = grant
  const credential: OAuthCredential = { type: 'oauth', access, refresh, idToken, expiresAt, account, generation: 0, ...changes }
  return { id, provider: id.split(':')[0] ?? '', credential }
}

/** How long the access token of a fresh login is good. */
export const LIVES = { expired: -60_000, expiring: 60_000, usable: HOUR } as const

export interface WorldOptions extends Omit<Partial<RefreshGateOptions>, 'telemetry' | 'registry' | 'clock'> {
  simulator?: SimulatorOptions
}

/** A store, a simulated provider with its token endpoint, telemetry that can be looked at, and a gate over them. */
export interface World extends ObservedTelemetry {
  readonly store: ProfileStore
  readonly simulator: Simulator
  readonly clock: TestClock
  readonly gate: RefreshGate
  /** Another gate over the same store: what a restart, or another process, sees. */
  anotherGate(options?: Partial<RefreshGateOptions>): RefreshGate
  /** A whole Gatewatch over the same store; stopped after the test. */
  gatewatch(options?: StartOptions): Promise<Gatewatch>
  /** Signs the account in and stores what it brought. */
  signIn(life?: keyof typeof LIVES, changes?: Partial<OAuthCredential>, login?: Partial<GrantOptions>): Promise<Grant>
  acquire(changes?: Partial<AcquireRequest>): AcquireRequest
  stored(): Promise<OAuthCredential>
  /** Requests the token endpoint has seen. */
  tokenRequests(): number
  /** The one span of that name. @throws {RangeError} when there is none or more. */
  span(name: string): ReadableSpan
}

/** Builds a world; everything in it is stopped after the test. */
export async function world({ simulator: simulatorOptions, store = memoryStore(), ...gateOptions }: WorldOptions = {}): Promise<World> {
  const clock = new TestClock()
  const simulator = await startSimulator({ now: () => clock.now(), ...simulatorOptions })
  const observed = observedTelemetry()
  const registry = createRegistry(providersAt(simulator.url))
  const anotherGate = (options: Partial<RefreshGateOptions> = {}) => {
    const gate = new RefreshGate({ store, registry, telemetry: observed.telemetry, clock, random: () => 0.5, ...gateOptions, ...options })
    return gate
  }
  const gate = anotherGate()
  afterwards(async () => {
    await simulator.stop()
    await gate.settled()
    await store.close()
  })
  return {
    ...observed,
    store,
    simulator,
    clock,
    gate,
    anotherGate,
    gatewatch: async options => {
      const gatewatch = await startGatewatch({ store, providers: providersAt(simulator.url), environment: {}, ...options })
      afterwards(() => gatewatch.close())
      return gatewatch
    },
    signIn: async (life = 'expired', changes = {}, login = {}) => {
      const grant = simulator.grantFor({
        provider: PROVIDER,
        account: ACCOUNT,
        accessLifeMs: HOUR,
        firstAccessLifeMs: LIVES[life],
        ...login,
      })
      await store.change(PROFILE, () => profileOf(grant, changes))
      return grant
    },
    acquire: changes => ({ provider: PROVIDER, profileId: PROFILE, caller: callerAt('answer'), reason: 'expired', ...changes }),
    stored: async () => credentialOf(await store.reload(PROFILE)),
    tokenRequests: () => simulator.counts().tokenRequests.total,
    span: name => {
      const [span, ...others] = observed.spans(name)
      if (!span || others.length > 0) throw new RangeError(`${others.length + (span ? 1 : 0)} spans are called ${name}, not one`)
      return span
    },
  }
}

/** The OAuth credential of a profile that has one. @throws {TypeError} when it has none. */
export function credentialOf(profile: StoredProfile | undefined): OAuthCredential {
  if (profile?.credential.type !== 'oauth') throw new TypeError('the profile holds no OAuth credential')
  return profile.credential
}
