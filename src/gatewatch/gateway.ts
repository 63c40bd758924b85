import { type BeginCallOptions, type BegunCall, beginCall } from '../calls/begun-call.ts'
import { Notes } from '../calls/notes.ts'
import { type CallObservers, RecentTroubles } from '../calls/observed-call.ts'
import { type ProbeResult, Probes } from '../calls/probe.ts'
import { ProbeSchedule } from '../calls/probe-schedule.ts'
import { ProbeState } from '../calls/probe-state.ts'
import { ProfileCache } from '../calls/profile-cache.ts'
import type { Readiness } from '../calls/profile-choice.ts'
import { observeProfiles } from '../calls/profile-gauges.ts'
import { damagedSnapshot, type ProfileSnapshot, profileSnapshot, reportedSnapshot } from '../calls/profile-snapshot.ts'
import { ProviderCalls } from '../calls/provider-calls.ts'
import { tryToRecover } from '../calls/recovery.ts'
import { ReportedProfiles } from '../calls/reported-profiles.ts'
import { SampleWeights } from '../calls/sample-weights.ts'
import { type WatchedFetchOptions, watchedFetch } from '../calls/watched-fetch.ts'
import { type WrapCallOptions, wrapCall } from '../calls/wrap-call.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { AnyFunction, AsyncFunction } from '../domain/wrapped-function.ts'
import { type WrapOperationOptions, type WrappedOperation, wrapOperation } from '../login/wrap-operation.ts'
import type { Registry } from '../providers/registry.ts'
import { Upstream } from '../providers/upstream.ts'
import type { AcquireRequest, AcquireResult } from '../refresh/acquire.ts'
import { NEEDS_REFRESH_DEFAULTS } from '../refresh/needs-refresh.ts'
import { RefreshGate } from '../refresh/refresh-gate.ts'
import { WrappedRefreshes, type WrapRefreshOptions, wrapRefresh } from '../refresh/wrap-refresh.ts'
import { checkProfiles, configuredProviderOf, type LoadedSettings, readProfiles, readRegistry } from '../settings/load-settings.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { measureStoreFailure } from '../telemetry/event-metrics.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { EndpointRegistry } from '../token-requests/endpoint-registry.ts'
import { runSteps, type Step } from '../tools/run-guarded.ts'
import { type BypassWatch, watchBypasses } from '../watch/bypass-watch.ts'

interface GatewayOptions extends LoadedSettings {
  store: ProfileStore
  telemetry: Telemetry
  /** The watch over token requests begins with `watchTokenRequests`, not at once. @default false */
  watchesLater?: boolean
  /** Notified of each token URL that becomes known after the start. */
  onTokenUrl?: (tokenUrl: string, providerId: string) => void
}

/** A client that is behind comes within minutes of a rotation; later, a token that comes back was copied. */
const ROTATION_GRACE_MS = 600_000

/** The floors put together: what a process needs to make calls, guard refreshes and see bypasses. */
export class Gateway {
  readonly registry: Registry
  readonly gate: RefreshGate
  readonly profiles: ProfileCache
  readonly calls: ProviderCalls
  readonly telemetry: Telemetry
  /** Profiles of an application that has a gateway of its own. */
  readonly reported: ReportedProfiles
  readonly notes: Notes
  /** For how long a refresh token that was rotated away still gets the current ones at the token endpoint gate, in ms. */
  readonly rotationGraceMs: number
  readonly #options: GatewayOptions
  readonly #upstream: Upstream
  readonly #watch: BypassWatch
  /** For the calls of the application. */
  readonly #observers: CallObservers
  /** Where requests by `fetch` go. */
  #endpoints: EndpointRegistry | undefined
  readonly #wrapped = new WrappedRefreshes(() => this.#watch.isRunning)
  readonly #probeBook: ProbeState
  readonly #probes: Probes
  readonly #schedule: ProbeSchedule
  #endBy: number | undefined

  constructor(options: GatewayOptions) {
    const { settings, store, telemetry } = options
    const { everyMs } = settings.probe
    const { bypass, rotationGraceMs = ROTATION_GRACE_MS, ...gate } = settings.gate
    this.rotationGraceMs = rotationGraceMs
    this.#options = options
    this.telemetry = telemetry
    this.registry = readRegistry(options)
    const genaiNames = new Map(this.registry.all().map(({ id, genaiName }) => [id, genaiName]))
    this.#observers = {
      telemetry,
      weights: new SampleWeights(),
      troubles: new RecentTroubles(),
      genaiNameOf: provider => genaiNames.get(provider) ?? provider,
    }
    this.gate = new RefreshGate({ store, registry: this.registry, telemetry, options: gate })
    this.profiles = new ProfileCache({
      gate: this.gate,
      store,
      configured: readProfiles(options, this.registry),
      onStoreError: error => this.#storeFailed(error),
    })
    this.reported = new ReportedProfiles({
      telemetry,
      logins: this.#wrapped.logins,
      ...NEEDS_REFRESH_DEFAULTS,
      ...(gate.earlyMs !== undefined && { earlyMs: gate.earlyMs }),
    })
    this.notes = new Notes(telemetry, this.reported)
    this.#probeBook = new ProbeState({ isResting: profile => this.profiles.rests.isResting(profile), everyMs })
    this.#upstream = new Upstream(settings.upstream)
    this.calls = new ProviderCalls({
      telemetry,
      gate: this.gate,
      profiles: this.profiles,
      probes: this.#probeBook,
      registry: this.registry,
      upstream: this.#upstream,
      metered: settings.fallback.metered,
      ...(settings.order && { order: settings.order }),
    })
    this.#probes = new Probes({ telemetry, calls: this.calls, profiles: this.profiles, probes: this.#probeBook, registry: this.registry })
    this.#schedule = new ProbeSchedule({ everyMs, probeAll: () => this.probe(), onFailed: error => this.#storeFailed(error) })
    this.#watch = watchBypasses({
      telemetry,
      registry: this.registry,
      lineageOf: refresh => this.gate.lineage.of(refresh) ?? this.#wrapped.logins.lineageOf(refresh),
      onFault: fault => telemetry.faults.report('the watch over token requests', fault),
      ...(bypass && { policy: bypass }),
    })
    if (!options.watchesLater) this.#watch.start()
  }

  /** Begins the watch over token requests of this process. */
  watchTokenRequests(): void {
    this.#watch.start()
  }

  /** Watches one more token URL. */
  watchTokenUrl(tokenUrl: string, providerId: string): void {
    this.#watch.add(tokenUrl, providerId)
  }

  #learnTokenUrl(tokenUrl: string, providerId: string): void {
    this.#watch.add(tokenUrl, providerId)
    this.#options.onTokenUrl?.(tokenUrl, providerId)
  }

  /**
   * Checks what can only be checked against the store. A gateway that could not start is stopped like any other.
   *
   * @throws {GatewayError} `GW_CONFIG`, or what the store throws.
   */
  async start(): Promise<void> {
    const profiles = await this.profiles.list()
    const damaged = this.profiles.damaged.map(({ id }) => id)
    checkProfiles(this.#options, { profiles, damaged }, this.registry)
    await this.refreshGauges()
    this.#schedule.start()
  }

  /** Acquires a token at the gate for a profile by its id alone. @throws as `RefreshGate.enter` */
  async acquireToken({
    rejected,
    ...acquisition
  }: Omit<AcquireRequest, 'provider' | 'rejected'> & { rejected?: string }): Promise<AcquireResult> {
    const rejectedFingerprint = fingerprint(rejected)
    const profile = await this.gate.current(acquisition.profileId)
    const provider = profile?.provider ?? 'unknown'
    try {
      const acquireResult = await this.gate.acquire({
        ...acquisition,
        provider,
        ...(rejectedFingerprint && { rejected: rejectedFingerprint }),
      })
      this.#probeBook.acquireAdmitted(acquisition.profileId)
      return acquireResult
    } catch (error) {
      if (profile) this.#probeBook.acquireFailed(profile, error)
      throw error
    }
  }

  /** Probes profiles, one after the other. @throws as `Probes.run` */
  probe(profile?: string, caller?: CallerSite): Promise<readonly ProbeResult[]> {
    return this.#probes.run(profile, caller)
  }

  /** Puts a gate around another caller's refresh function. */
  wrapRefresh<F extends AsyncFunction>(refresh: F, options: WrapRefreshOptions<F>): F {
    const tokenUrl = this.#tokenUrl('wrapRefresh', options)
    this.#learnTokenUrl(tokenUrl, options.provider)
    return wrapRefresh(this.telemetry, tokenUrl, refresh, options, this.#wrapped)
  }

  wrapCall<F extends AnyFunction>(send: F, options: WrapCallOptions<F>): F {
    return wrapCall(this.#observers, send, options)
  }

  /** A `fetch` for SDKs. @param madeAt Where in the application it is made. */
  fetch(options: WatchedFetchOptions, madeAt: CallerSite): typeof globalThis.fetch {
    this.#endpoints ??= new EndpointRegistry({
      tokenUrls: Object.fromEntries(this.registry.tokenUrls()),
      apis: Object.fromEntries(this.registry.all().map(({ baseUrl, id }) => [baseUrl, id])),
      exclude: [],
    })
    return watchedFetch(this.#observers, options, { endpoints: this.#endpoints, madeAt })
  }

  beginCall(options: BeginCallOptions, caller: CallerSite): BegunCall {
    return beginCall(this.#observers, options, caller)
  }

  /** Wraps a login, code exchange or revocation of the application. */
  wrapOperation<F extends AsyncFunction>(operation: WrappedOperation, run: F, options: WrapOperationOptions<F>): F {
    const given = givenTokenUrl('wrapOperation', options)
    if (given !== undefined) this.#learnTokenUrl(given, options.provider)
    return wrapOperation(this.telemetry, given ?? this.#knownTokenUrl(options.provider), operation, run, options)
  }

  /** What every profile can do right now. */
  async snapshot(): Promise<readonly ProfileSnapshot[]> {
    const profiles = await this.profiles.allCurrent()
    const { standings } = this.calls.choice.readiness(profiles)
    const readable = profiles.map(profile => {
      const billing = configuredProviderOf(this.registry, profile.provider)?.billingOf(profile.credential)
      const standing = standings.get(profile.id) ?? { serves: false, reason: 'mode_mismatch' }
      return profileSnapshot(profile, billing, { telemetry: this.telemetry, profiles: this.profiles, probes: this.#probeBook, standing })
    })
    const stored = [...readable, ...this.profiles.damaged.map(one => damagedSnapshot(one, this.telemetry))]
    const names = new Set(stored.map(({ profile }) => profile))
    const reported = (await this.reported.all()).filter(({ profile }) => !names.has(profile))
    return [...stored, ...reported.map(reportedSnapshot)]
  }

  /**
   * Whether a call could be served now, and by which profile. Where none could because refreshes failed, one is tried again.
   *
   * @throws what the store throws.
   */
  async readiness(): Promise<Readiness> {
    const profiles = await this.profiles.allCurrent()
    const readiness = this.calls.choice.readiness(profiles)
    void tryToRecover({ gate: this.gate, profiles: this.profiles }, profiles, readiness)
    return readiness
  }

  /** Sets the gauges of every profile. Never rejects: a store that cannot be read is counted, and is no reason to show nothing. */
  async refreshGauges(): Promise<void> {
    try {
      const { telemetry, profiles, reported } = this
      await observeProfiles({ telemetry, profiles, reported, probes: this.#probeBook, choice: this.calls.choice })
    } catch (error) {
      this.#storeFailed(error)
    }
  }

  #storeFailed(error: unknown): void {
    measureStoreFailure('read', error, this.telemetry.instruments)
  }

  /** Waits for refreshes under way, then lets go of what was started. The store stays open. @throws as `runSteps` */
  async stop(): Promise<void> {
    await runSteps('the gateway stops', this.stopSteps())
  }

  /** What `stop` does, in its order. */
  stopSteps(): Step[] {
    return [
      { name: 'probe schedule', run: () => this.#schedule.stop() },
      { name: 'probes', run: () => this.#probes.close() },
      { name: 'refreshes', run: () => this.#settle() },
      { name: 'watch over token requests', run: () => this.#watch.stop() },
      { name: 'provider connections', run: () => this.#upstream.close() },
      { name: 'rests', run: () => this.profiles.rests.settled() },
    ]
  }

  /** What `stop` does may take so long from now on, in ms. @default listen.stopGraceMs */
  endWithin(graceMs = this.#options.settings.listen.stopGraceMs): void {
    this.#endBy = performance.now() + graceMs
  }

  /** @throws {GatewayError} `GW_NOT_PERSISTED` when a new token is lost with this process. */
  async #settle(): Promise<void> {
    const { stopGraceMs } = this.#options.settings.listen
    const writeMs = this.#endBy === undefined ? stopGraceMs : Math.max(0, this.#endBy - performance.now())
    const { profiles, cause } = await this.gate.settled({ writeMs })
    if (profiles.length === 0) return
    const why = isGatewayError(cause) ? `: ${cause.message}` : ''
    throw new GatewayError(
      'GW_NOT_PERSISTED',
      `the new token of ${profiles.join(', ')} could not be stored before the process ended, and is lost${why}. Sign in again: gatewatch profiles login`,
      { next: 'sign_in_again', cause },
    )
  }

  /** As `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #tokenUrl(wrapper: string, options: { provider: string; tokenUrl?: string }): string {
    const url = givenTokenUrl(wrapper, options) ?? this.#knownTokenUrl(options.provider)
    if (url) return url
    throw new GatewayError('GW_CONFIG', `provider ${options.provider} has no known token URL: pass tokenUrl, or name it under providers`, {
      next: 'fix_configuration',
    })
  }

  #knownTokenUrl(providerId: string): string | undefined {
    return configuredProviderOf(this.registry, providerId)?.oauth?.tokenUrl
  }
}

/** @throws {GatewayError} `GW_CONFIG` for a token URL that is none: it could neither be watched nor permitted. */
function givenTokenUrl(wrapper: string, { tokenUrl }: { tokenUrl?: string }): string | undefined {
  if (tokenUrl === undefined || (URL.canParse(tokenUrl) && /^https?:$/.test(new URL(tokenUrl).protocol))) return tokenUrl
  throw new GatewayError('GW_CONFIG', `${wrapper}: tokenUrl is a ${typeof tokenUrl}, allowed: an http or https URL`, {
    next: 'fix_configuration',
  })
}
