import { ATTR_ERROR_TYPE } from '../otel/names.ts'
import type { ProfileState } from '../otel/words.ts'
import { type OAuthOperation, type WrapOperationOptions, wrapOperation } from './auth/foreign-operation.ts'
import { type AroundOptions, aroundRefresh } from './auth/foreign-refresh.ts'
import { RefreshGate } from './auth/refresh-gate.ts'
import type { Admission, Visit } from './auth/visit.ts'
import { type WrapCallOptions, wrapProviderCall } from './calls/foreign-call.ts'
import { type ProbeResult, Probes } from './calls/probe.ts'
import { type LastProbe, ProbeBook } from './calls/probe-book.ts'
import { ProbeSchedule } from './calls/probe-schedule.ts'
import { type ConfiguredProfile, ProfileBook } from './calls/profile-book.ts'
import { setProfileGauges } from './calls/profile-gauges.ts'
import { ProviderCalls } from './calls/provider-calls.ts'
import type { CallerSite } from './domain/caller-site.ts'
import { isOAuth, type StoredProfile } from './domain/credential.ts'
import { fingerprint } from './domain/fingerprint.ts'
import { errorType, GatewayError, isGatewayError } from './domain/gateway-error.ts'
import { placeOf, refused, type Settings, variableName } from './options.ts'
import type { Provider } from './providers/provider.ts'
import type { ProviderSettings } from './providers/provider-settings.ts'
import { createRegistry, type Registry } from './providers/registry.ts'
import { Upstream } from './providers/upstream.ts'
import type { ProfileStore } from './store/profile-store.ts'
import { scrubText } from './telemetry/scrub.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
import { hideText } from './tools/hidden-texts.ts'
import { type BypassWatch, watchBypasses } from './watch/bypass-watch.ts'

export interface GatewayOptions {
  settings: Settings
  store: ProfileStore
  telemetry: Telemetry
  /** Where API keys and client secrets are looked up. */
  environment: NodeJS.ProcessEnv
  /** What the settings were read from, for messages. */
  source: string
  /** Told of a fault of Gatewatch itself that must not reach the application. */
  onFault: (fault: unknown) => void
}

/** One profile, as an operator may see it: no token, no e-mail. */
export interface ProfileSnapshot {
  readonly profile: string
  readonly provider: string
  readonly type: StoredProfile['credential']['type']
  readonly billing: string
  readonly state: ProfileState
  /** Seconds until the access token expires; negative when it has. */
  readonly expiresInSeconds?: number
  readonly generation?: number
  readonly needsLogin?: { readonly outcome: string; readonly since: string; readonly providerCode?: string }
  /** Seconds the profile still rests. */
  readonly restsForSeconds?: number
  /** The last probe, where there was one. */
  readonly probe?: LastProbe
}

/** The floors put together: what a process needs to make calls, guard refreshes and see bypasses. */
export class Gateway {
  readonly registry: Registry
  readonly gate: RefreshGate
  readonly book: ProfileBook
  readonly calls: ProviderCalls
  readonly telemetry: Telemetry
  readonly #options: GatewayOptions
  readonly #upstream: Upstream
  readonly #watch: BypassWatch
  readonly #probeBook: ProbeBook
  readonly #probes: Probes
  readonly #schedule: ProbeSchedule

  constructor(options: GatewayOptions) {
    const { settings, store, telemetry, onFault } = options
    const { everyMs } = settings.probe
    const { bypass, ...gate } = settings.gate
    this.#options = options
    this.telemetry = telemetry
    this.registry = readRegistry(options)
    this.gate = new RefreshGate({ store, registry: this.registry, telemetry, options: gate })
    this.book = new ProfileBook({
      gate: this.gate,
      store,
      configured: readProfiles(options, this.registry),
      onStoreError: error => this.#storeFailed(error),
    })
    this.#probeBook = new ProbeBook({ isResting: id => this.book.isResting(id), everyMs })
    this.#upstream = new Upstream(settings.upstream)
    this.calls = new ProviderCalls({
      telemetry,
      gate: this.gate,
      book: this.book,
      probes: this.#probeBook,
      registry: this.registry,
      upstream: this.#upstream,
      metered: settings.fallback.metered,
      ...(settings.order && { order: settings.order }),
    })
    this.#probes = new Probes({ telemetry, calls: this.calls, profiles: this.book, book: this.#probeBook, registry: this.registry })
    this.#schedule = new ProbeSchedule({ everyMs, probeAll: () => this.probe(), onFailed: error => this.#storeFailed(error) })
    this.#watch = watchBypasses({
      telemetry,
      registry: this.registry,
      lineageOf: refresh => this.gate.lineage.of(refresh),
      onFault,
      ...(bypass && { policy: bypass }),
    })
  }

  /** Checks what can only be checked against the store. @throws {GatewayError} `GW_CONFIG`, or what the store throws. */
  async start(): Promise<void> {
    try {
      checkProfiles(this.#options, await this.book.list(), this.registry)
      await this.refreshGauges()
      this.#schedule.start()
    } catch (error) {
      this.#watch.stop()
      throw error
    }
  }

  /** Visits the gate for a profile by its id alone. @throws as `RefreshGate.enter` */
  async visit({ rejected, ...visit }: Omit<Visit, 'provider' | 'rejected'> & { rejected?: string }): Promise<Admission> {
    const rejectedFingerprint = fingerprint(rejected)
    const provider = (await this.gate.current(visit.profileId))?.provider ?? 'unknown'
    try {
      const admission = await this.gate.enter({ ...visit, provider, ...(rejectedFingerprint && { rejected: rejectedFingerprint }) })
      this.#probeBook.visitAdmitted(visit.profileId)
      return admission
    } catch (error) {
      this.#probeBook.visitFailed(visit.profileId, error)
      throw error
    }
  }

  /** Probes profiles, one after the other. @throws as `Probes.run` */
  probe(profile?: string, caller?: CallerSite): Promise<readonly ProbeResult[]> {
    return this.#probes.run(profile, caller)
  }

  /** Puts a gate around somebody else's refresh function. */
  around<A extends unknown[], R>(refresh: (...parameters: A) => Promise<R>, options: AroundOptions<A>): (...parameters: A) => Promise<R> {
    const tokenUrl = this.#tokenUrl(options)
    this.#watch.add(tokenUrl, options.provider)
    return aroundRefresh(this.telemetry, tokenUrl, refresh, options)
  }

  wrapCall<A extends unknown[], R>(send: (...parameters: A) => Promise<R>, options: WrapCallOptions<A>): (...parameters: A) => Promise<R> {
    return wrapProviderCall(this.telemetry, send, options)
  }

  wrapOperation<A extends unknown[], R>(
    operation: OAuthOperation,
    run: (...parameters: A) => Promise<R>,
    options: WrapOperationOptions<A>,
  ): (...parameters: A) => Promise<R> {
    if (options.tokenUrl !== undefined) this.#watch.add(options.tokenUrl, options.provider)
    return wrapOperation(this.telemetry, options.tokenUrl ?? this.#knownTokenUrl(options.provider), operation, run, options)
  }

  /** What every profile can do right now. */
  async snapshot(): Promise<readonly ProfileSnapshot[]> {
    const profiles = await this.book.list()
    return Promise.all(profiles.map(async listed => this.#describe(await this.book.current(listed))))
  }

  /** Sets the gauges of every profile. Never rejects: a store that cannot be read is counted, and is no reason to show nothing. */
  async refreshGauges(): Promise<void> {
    try {
      await setProfileGauges(this.telemetry, this.book, this.#probeBook)
    } catch (error) {
      this.#storeFailed(error)
    }
  }

  #storeFailed(error: unknown): void {
    this.telemetry.instruments.add('storeErrors', { operation: 'read', [ATTR_ERROR_TYPE]: errorType(error) })
  }

  /** Waits for refreshes under way, then lets go of connections and the store. */
  async stop(): Promise<void> {
    this.#schedule.stop()
    await this.#probes.close()
    this.#watch.stop()
    await this.gate.settled()
    await this.#upstream.close()
    await this.#options.store.close()
  }

  #describe(profile: StoredProfile): ProfileSnapshot {
    const { credential, needsLogin } = profile
    const expiresAt = credential.type === 'api_key' ? undefined : credential.expiresAt
    const cooldown = this.book.cooldownOf(profile.id)
    const probe = this.#probeBook.lastOf(profile.id)
    return {
      profile: this.telemetry.profile(profile.id),
      provider: profile.provider,
      type: credential.type,
      billing: profile.billing ?? providerOf(this.registry, profile.provider)?.billingOf(credential) ?? 'unknown',
      state: this.book.stateOf(profile),
      ...(expiresAt !== undefined && { expiresInSeconds: Math.round((expiresAt - Date.now()) / 1000) }),
      ...(isOAuth(credential) && { generation: credential.generation }),
      ...(needsLogin && {
        needsLogin: {
          outcome: needsLogin.outcome,
          since: new Date(needsLogin.since).toISOString(),
          ...(needsLogin.providerCode && { providerCode: needsLogin.providerCode }),
        },
      }),
      ...(cooldown.state === 'resting' &&
        this.book.isResting(profile.id) && { restsForSeconds: Math.ceil((cooldown.until - Date.now()) / 1000) }),
      ...(probe && { probe }),
    }
  }

  #tokenUrl(options: { provider: string; tokenUrl?: string }): string {
    const url = options.tokenUrl ?? this.#knownTokenUrl(options.provider)
    if (url) return url
    throw new GatewayError('GW_CONFIG', `provider ${options.provider} has no known token URL: pass tokenUrl, or name it under providers`, {
      next: 'fix_configuration',
    })
  }

  #knownTokenUrl(providerId: string): string | undefined {
    return providerOf(this.registry, providerId)?.oauth?.tokenUrl
  }
}

function providerOf(registry: Registry, providerId: string): Provider | undefined {
  return registry.all().find(({ id }) => id === providerId)
}

/** The order and the providers, against the profiles there are. @throws {GatewayError} `GW_CONFIG` */
function checkProfiles({ settings, source }: GatewayOptions, profiles: readonly StoredProfile[], registry: Registry): void {
  const ids = profiles.map(({ id }) => id)
  const allowed = ids.map(quoted).join(' or ') || 'nothing, there are no profiles'
  const unknown = (settings.order ?? []).flatMap((id, index) =>
    ids.includes(id) ? [] : [`order.${index}: is the string ${quoted(id)}, which is no profile; allowed: ${allowed}`],
  )
  if (unknown.length > 0) throw refused(source, unknown)
  const homeless = profiles.find(({ provider }) => !providerOf(registry, provider))
  if (homeless)
    throw refused(source, [
      `providers: lacks ${quoted(homeless.provider)}, the provider of the stored profile ${quoted(homeless.id)}; known: ${idsOf(registry)}`,
    ])
}

function readRegistry(options: GatewayOptions): Registry {
  try {
    return createRegistry(readProviders(options))
  } catch (error) {
    // What the providers refuse about their settings names the key; where that key stands, only we know.
    if (!isGatewayError(error, 'GW_CONFIG') || error.message.startsWith(options.source)) throw error
    throw refused(options.source, [error.message], error)
  }
}

function readProviders({ settings, environment, source }: GatewayOptions): Record<string, ProviderSettings> {
  return Object.fromEntries(
    Object.entries(settings.providers).map(([id, { clientSecretEnv, ...provider }]) => {
      const clientSecret =
        clientSecretEnv === undefined
          ? undefined
          : fromEnvironment(environment, clientSecretEnv, placeOf(['providers', id, 'clientSecretEnv']), source)
      return [id, { ...provider, ...(clientSecret && { clientSecret }) }]
    }),
  )
}

function readProfiles({ settings, environment, source }: GatewayOptions, registry: Registry): ConfiguredProfile[] {
  return Object.entries(settings.profiles).map(([id, { provider, billing, apiKeyEnv }]) => {
    if (!providerOf(registry, provider))
      throw refused(source, [`${placeOf(['profiles', id, 'provider'])}: is the string ${quoted(provider)}, allowed: ${idsOf(registry)}`])
    const apiKey =
      apiKeyEnv === undefined ? undefined : fromEnvironment(environment, apiKeyEnv, placeOf(['profiles', id, 'apiKeyEnv']), source)
    return { id, provider, ...(billing && { billing }), ...(apiKey !== undefined && { apiKey }) }
  })
}

function fromEnvironment(environment: NodeJS.ProcessEnv, name: string, key: string, source: string): string {
  const value = environment[name]
  if (value) {
    hideText(value)
    return value
  }
  throw refused(source, [`${key}: the environment variable ${variableName(name)} is ${value === undefined ? 'not set' : 'empty'}`])
}

function idsOf(registry: Registry): string {
  return registry
    .all()
    .map(({ id }) => quoted(id))
    .join(' or ')
}

/** A word of the configuration as a message may show it: somebody may have put the key where its name belongs. */
function quoted(word: string): string {
  return JSON.stringify(scrubText(word.slice(0, 64)))
}
