import { setTimeout as sleep } from 'node:timers/promises'
import { diag } from '@opentelemetry/api'
import { type CredentialMark, markOf } from '../domain/cooldown.ts'
import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { ProfileState, TokenRequestOutcome } from '../domain/enums.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { profileStateOf } from '../domain/profile-state.ts'
import { isPermanent } from '../domain/token-request-outcome.ts'
import type { Registry } from '../providers/registry.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import { measureStoreFailure } from '../telemetry/event-metrics.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { type AcquireRequest, type AcquireResult, isUsable, judgeAcquire } from './acquire.ts'
import { AcquireRecord } from './acquire-record.ts'
import { Backoff } from './backoff.ts'
import { Lineage } from './lineage.ts'
import { NEEDS_REFRESH_DEFAULTS, needsRefresh } from './needs-refresh.ts'
import { PendingWrites } from './pending-writes.ts'
import {
  deadGrant,
  needsLogin,
  type RefreshContext,
  type RefreshOptions,
  type RefreshResult,
  type RefreshStep,
  unknownProfile,
} from './refresh-context.ts'
import { RefreshRecord } from './refresh-record.ts'
import { runRefresh } from './run-refresh.ts'
import { StaleCache } from './stale-cache.ts'
import { abortedAcquire, waitFor } from './wait.ts'

const GATE_DEFAULTS = {
  leaseWaitMs: 90_000,
  requestTimeoutMs: 20_000,
  listenMs: 300_000,
  earlyMs: NEEDS_REFRESH_DEFAULTS.earlyMs,
  forced: 'reuse',
} as const satisfies RefreshOptions

export interface RefreshGateOptions {
  store: ProfileStore
  registry: Registry
  telemetry: Telemetry
  options?: Partial<RefreshOptions>
  clock?: Clock
  random?: () => number
  /** Called at each step of a refresh, synchronously. */
  onStep?: (step: RefreshStep) => void
}

const ACQUIRE_DEADLINE_MS = 60_000
/** How often at most an acquisition tries again to write what the store refused. */
const REWRITE_EVERY_MS = 5_000

/** How long an acquisition that comes to a refresh that let its acquisitions go is to leave it alone. */
const LISTENING_RETRY_MS = 5_000
/** Pause between the last tries to write what the store refused. */
const LAST_WRITES_EVERY_MS = 200

interface RunningRefresh {
  readonly record: RefreshRecord
  /** How it ends for its acquisitions: with its end, or when they need not wait any longer. */
  readonly result: Promise<RefreshResult>
  readonly end: Promise<RefreshResult>
  /** Ends what it waits for. */
  readonly ending: AbortController
  /** Why its acquisitions need not wait any longer, since that is so. */
  letGo?: GatewayError
}

/** A refresh that failed, and the tokens that it was about: of others it says nothing. */
interface FailedRefresh {
  readonly error: GatewayError
  readonly tried: CredentialMark
}

/** Why a refresh is not made, or has failed, and the ms until the gate tries again; 0 where the next acquisition does. */
export interface RefreshPause {
  readonly outcome: TokenRequestOutcome
  readonly waitMs: number
}

/** New tokens that the store could not take. */
interface Unsaved {
  /** Names of their profiles, as messages may show them. */
  readonly profiles: readonly string[]
  /** What the store said last. */
  readonly cause: unknown
}

/** How long an ending process waits, in ms. */
interface SettleOptions {
  /** For the refreshes under way; what they then wait for is given up. @default `requestTimeoutMs` */
  graceMs?: number
  /** For a store that refuses the new tokens. @default 0: one try */
  writeMs?: number
}

/**
 * The one door to the token endpoints.
 *
 * However many acquisitions come at once for a profile, forced or not, in one process or in several: one token request. A
 * caller who leaves only stops waiting; the refresh goes on, and what it brings is stored before anybody sees it.
 */
export class RefreshGate {
  /** The refresh tokens that are known, current ones and rotated ones. */
  readonly lineage = new Lineage()
  readonly #context: RefreshContext
  readonly #telemetry: Telemetry
  readonly #backoff: Backoff
  readonly #running = new Map<string, RunningRefresh>()
  /** Refreshes whose lease is not given back yet. */
  readonly #departed = new Set<Promise<void>>()
  readonly #lastKnown = new StaleCache()
  /** How the last refresh of a profile failed, until one succeeds. */
  readonly #failures = new Map<string, FailedRefresh>()
  #rewriteAt = 0

  constructor({ store, registry, telemetry, options, clock = systemClock, random, onStep }: RefreshGateOptions) {
    this.#telemetry = telemetry
    this.#backoff = new Backoff(random)
    this.#context = {
      store,
      registry,
      clock,
      options: { ...GATE_DEFAULTS, ...options },
      pendingWrites: new PendingWrites(),
      nameOf: profileId => telemetry.profile(profileId),
      ...(onStep && { onStep }),
    }
  }

  /**
   * What holds for a profile now: the store's word, with what it could not take laid over. While the store cannot be read,
   * a token that still works serves from memory.
   *
   * @throws what the store throws.
   */
  async current(profileId: string): Promise<StoredProfile | undefined> {
    this.#rewriteSoon()
    const { store, pendingWrites, clock } = this.#context
    try {
      const stored = await store.read(profileId)
      this.#lastKnown.read(profileId, stored)
      return pendingWrites.over(profileId, stored)
    } catch (error) {
      measureStoreFailure('read', error, this.#telemetry.instruments)
      const known = pendingWrites.over(profileId, this.#lastKnown.unreadable(profileId))
      if (!known || !isUsable(known, clock.now()) || isGatewayError(error, 'GW_CLOSED')) throw error
      return known
    }
  }

  /** Why the profile should acquire a token at the gate before it is used; `undefined` when it can be used unchanged. */
  needs(profile: StoredProfile): ReturnType<typeof needsRefresh> {
    return isOAuth(profile.credential) ? needsRefresh(profile.credential, this.#context.clock.now(), this.#context.options) : undefined
  }

  /**
   * Acquires a token at the gate. Call it synchronously where the wish arises; the caller site comes with the acquisition.
   *
   * @returns The profile with a token that can be used, and how the acquisition came by it.
   * @throws {GatewayError} `GW_NEEDS_LOGIN` (sign in again), `GW_REFRESH_FAILED` and `GW_REFRESH_BACKOFF` (may pass),
   *   `GW_ACQUIRE_TIMEOUT`, `GW_ACQUIRE_ABORTED` (this caller stopped waiting), `GW_PROFILE_UNKNOWN`, or a store's code.
   */
  async acquire(acquisition: AcquireRequest): Promise<AcquireResult> {
    const record = new AcquireRecord(this.#telemetry, acquisition)
    try {
      const acquireResult = await this.#admit(acquisition, record)
      record.left(acquireResult.decision, { outcome: acquireResult.outcome })
      return acquireResult
    } catch (error) {
      record.left(record.joinedAs ?? 'refuse', { error })
      throw error
    }
  }

  /** What the profile can do right now. @param isResting Calls leave it alone after a failure. @default false */
  stateOf(profile: StoredProfile, isResting = false): ProfileState {
    const { pendingWrites, clock, options } = this.#context
    return profileStateOf({
      credential: profile.credential,
      now: clock.now(),
      earlyMs: options.earlyMs,
      isDead: deadGrant(profile) !== undefined,
      isInMemoryOnly: pendingWrites.has(profile.id) || this.#lastKnown.isUnreadable(profile.id),
      isResting,
    })
  }

  /**
   * Why the gate sends no refresh of this login right now, and how long that lasts; `undefined` where it would send one.
   *
   * @returns The outcome of the refresh that failed a moment ago, and the ms that are left.
   */
  pauseOf(profile: StoredProfile): RefreshPause | undefined {
    const underWay = this.#running.get(profile.id)
    if (underWay) return underWay.letGo && { outcome: underWay.letGo.outcome ?? 'timeout', waitMs: LISTENING_RETRY_MS }
    const waitMs = this.#pauseMs(profile)
    return waitMs === 0 ? undefined : { outcome: this.#failureOf(profile)?.outcome ?? 'unavailable', waitMs }
  }

  /**
   * How the last refresh of the tokens that the profile holds failed, from its failure until one succeeds or the profile
   * holds others, also while the gate tries again; `undefined` where none failed. Known to this process alone: another one
   * has its own network.
   */
  failureOf(profile: StoredProfile): RefreshPause | undefined {
    const error = this.#failureOf(profile)
    return this.pauseOf(profile) ?? (error && { outcome: error.outcome ?? 'unavailable', waitMs: 0 })
  }

  /** Says whether an acquisition would begin a refresh now: none is under way, and the gate does not pause. */
  isFree(profile: StoredProfile): boolean {
    return !this.#running.has(profile.id) && this.#pauseMs(profile) === 0
  }

  /**
   * Waits for the refreshes under way, so that a process that ends does not leave an answer unheard, and tries until
   * `writeMs` have passed to write what the store refused.
   *
   * @returns What is in the memory of this process only: with the process it is gone.
   */
  async settled({ graceMs = this.#context.options.requestTimeoutMs, writeMs = 0 }: SettleOptions = {}): Promise<Unsaved> {
    const giveUp = setTimeout(() => {
      for (const { ending } of this.#running.values()) ending.abort(new DOMException('the process ends', 'AbortError'))
    }, graceMs)
    await Promise.all(this.#departed)
    clearTimeout(giveUp)
    const { pendingWrites, store, nameOf } = this.#context
    let cause: unknown
    for (const start = performance.now(); pendingWrites.profileIds.length > 0; await sleep(LAST_WRITES_EVERY_MS)) {
      const writes = await Promise.allSettled(pendingWrites.profileIds.map(profileId => pendingWrites.write(profileId, store)))
      cause = writes.find(write => write.status === 'rejected')?.reason
      if (performance.now() - start >= writeMs) break
    }
    return { profiles: pendingWrites.tokensOf.map(nameOf), cause }
  }

  async #admit(acquisition: AcquireRequest, record: AcquireRecord): Promise<AcquireResult> {
    const profile = await this.current(acquisition.profileId)
    if (!profile || !isOAuth(profile.credential)) throw unknownProfile(this.#context, acquisition.profileId)
    const { clock, options } = this.#context
    const verdict = judgeAcquire(profile.credential, acquisition, { now: clock.now(), earlyMs: options.earlyMs, forced: options.forced })
    if (verdict !== 'refresh') return { decision: verdict, profile }
    return this.#board(acquisition, profile, record)
  }

  async #board(acquisition: AcquireRequest, profile: StoredProfile, record: AcquireRecord): Promise<AcquireResult> {
    const underWay = this.#running.get(acquisition.profileId)
    const refusal = underWay ? this.#stillListening(acquisition, underWay) : this.#refusal(acquisition, profile)
    if (refusal) return this.#orStillUsable(acquisition, profile, { error: refusal })
    const running = underWay ?? this.#start(acquisition, profile, record)
    record.joins(running.record, underWay ? 'join' : 'lead')
    const { clock } = this.#context
    const boardedAt = clock.monotonic()
    const deadlineMs = acquisition.deadlineMs ?? ACQUIRE_DEADLINE_MS
    // An operator waits as long as he said, whatever the others do.
    const work = acquisition.reason === 'operator' ? running.end : running.result
    const result = await this.#await(work, { ...acquisition, deadlineMs })
    if (result.error) return this.#orStillUsable(acquisition, profile, result)
    // A refresh that had begun before the provider rejected this token may have brought nothing newer.
    if (underWay && acquisition.rejected && !isUsable(result.profile, clock.now(), acquisition.rejected))
      return this.#admit({ ...acquisition, deadlineMs: Math.max(0, deadlineMs - (clock.monotonic() - boardedAt)) }, record)
    return {
      decision: underWay ? 'join' : result.outcome === 'reused' ? 'adopt' : 'lead',
      profile: result.profile,
      outcome: result.outcome,
    }
  }

  /** The refresh's end, or the end of this caller's patience as the error of a refresh without outcome. */
  async #await(
    result: Promise<RefreshResult>,
    { deadlineMs, signal }: AcquireRequest & { deadlineMs: number },
  ): Promise<RefreshResult | { error: GatewayError }> {
    try {
      return await waitFor(result, deadlineMs, signal)
    } catch (error) {
      if (isGatewayError(error, 'GW_ACQUIRE_TIMEOUT')) return { error }
      throw error
    }
  }

  /** A failed or slow refresh does not stop a caller whose token still works: it wanted a newer one, it did not need it. */
  #orStillUsable(
    acquisition: AcquireRequest,
    profile: StoredProfile,
    { outcome, error }: { outcome?: TokenRequestOutcome; error: GatewayError },
  ): AcquireResult {
    if (!this.#isStillUsable(acquisition, profile)) throw error
    return { decision: 'reuse', profile, ...(outcome && { outcome }) }
  }

  #isStillUsable({ reason, rejected }: AcquireRequest, profile: StoredProfile): boolean {
    return reason !== 'operator' && isUsable(profile, this.#context.clock.now(), rejected)
  }

  /** The answer has been awaited for so long already that no caller waits for it: another profile may serve meanwhile. */
  #stillListening({ profileId, reason }: AcquireRequest, { letGo }: RunningRefresh): GatewayError | undefined {
    if (!letGo || reason === 'operator') return undefined
    return new GatewayError(
      'GW_REFRESH_BACKOFF',
      `the refresh of profile ${this.#context.nameOf(profileId)} is still under way (${letGo.message})`,
      { next: letGo.next, retryAfterMs: LISTENING_RETRY_MS, cause: letGo, ...(letGo.outcome && { outcome: letGo.outcome }) },
    )
  }

  #refusal(acquisition: AcquireRequest, profile: StoredProfile): GatewayError | undefined {
    if (acquisition.signal?.aborted) throw abortedAcquire(acquisition.signal)
    if (acquisition.reason === 'operator') return undefined
    const dead = deadGrant(profile)
    if (dead) return needsLogin(this.#context, profile, dead.outcome)
    const retryAfterMs = this.#pauseMs(profile)
    if (retryAfterMs === 0) return undefined
    const seconds = Math.ceil(retryAfterMs / 1000)
    const cause = this.#failureOf(profile)
    return new GatewayError(
      'GW_REFRESH_BACKOFF',
      `the refresh of profile ${this.#context.nameOf(profile.id)} failed a moment ago; tried again in ${seconds} s${cause ? ` (${cause.message})` : ''}`,
      { next: cause?.next ?? 'try_again_later', retryAfterMs, cause, ...(cause?.outcome && { outcome: cause.outcome }) },
    )
  }

  /** Ms until the login may be refreshed again. A failure of other tokens does not hold up those it holds now. */
  #pauseMs(profile: StoredProfile): number {
    return this.#failureOf(profile) ? this.#backoff.remainingMs(profile.id, this.#context.clock.monotonic()) : 0
  }

  #failureOf({ id, credential }: StoredProfile): GatewayError | undefined {
    const failed = this.#failures.get(id)
    return failed && isSameMark(failed.tried, markOf(credential)) ? failed.error : undefined
  }

  #start(acquisition: AcquireRequest, profile: StoredProfile, { span: primary }: AcquireRecord): RunningRefresh {
    const tried = markOf(profile.credential)
    const record = new RefreshRecord(this.#telemetry, {
      provider: profile.provider,
      profileId: acquisition.profileId,
      caller: acquisition.caller,
      reason: acquisition.reason,
      primary,
    })
    const end = Promise.withResolvers<RefreshResult>()
    const result = Promise.withResolvers<RefreshResult>()
    const running: RunningRefresh = { record, result: result.promise, end: end.promise, ending: new AbortController() }
    this.#running.set(acquisition.profileId, running)
    const departed = runRefresh({
      context: this.#context,
      acquisition,
      record,
      ending: running.ending.signal,
      letGo: failure => {
        if (running.letGo) return
        running.letGo = failure.error
        guarded(() => record.step('waiting_ended'))
        result.resolve(failure)
      },
      ended: ended => {
        this.#running.delete(acquisition.profileId)
        // Whatever fails in here must not cost the acquisitions the token.
        const type = ended.error && (ended.errorType ?? failureType(ended.error, ended.outcome))
        // The provider asks for patience, and who leads has a token: nothing is lost by it.
        const isHarmless = ended.outcome === 'throttled' && this.#isStillUsable(acquisition, profile)
        guarded(() => record.ended(ended.outcome, { errorType: type, isHarmless }))
        guarded(() => this.#noteEnd(acquisition.profileId, ended, tried))
        end.resolve(ended)
        result.resolve(ended)
      },
    }).finally(() => this.#departed.delete(departed))
    this.#departed.add(departed)
    return running
  }

  #noteEnd(profileId: string, { outcome, profile, error }: RefreshResult, tried: CredentialMark): void {
    if (profile) {
      this.lineage.learn(profile)
      this.#lastKnown.read(profileId, profile)
    }
    const before = this.#failures.get(profileId)
    // What other tokens met does not make the pauses of these longer.
    if (before && !isSameMark(before.tried, tried)) this.#backoff.succeeded(profileId)
    if (error) this.#failures.set(profileId, { error, tried })
    else this.#failures.delete(profileId)
    if (!error) this.#backoff.succeeded(profileId)
    else if (!isPermanent(outcome)) this.#backoff.failed(profileId, this.#context.clock.monotonic(), error.retryAfterMs)
  }

  #rewriteSoon(): void {
    const { pendingWrites, clock, store } = this.#context
    if (pendingWrites.profileIds.length === 0 || clock.monotonic() < this.#rewriteAt) return
    this.#rewriteAt = clock.monotonic() + REWRITE_EVERY_MS
    // The store says again what is wrong at the next refresh; until then the tokens serve from memory.
    for (const profileId of pendingWrites.profileIds) pendingWrites.write(profileId, store).catch(() => undefined)
  }
}

/** Runs what only notes: a fault in there is reported, and goes no further. */
function guarded(note: () => void): void {
  try {
    note()
  } catch (error) {
    diag.error(`a refresh could not be noted (${errorType(error)})`)
  }
}

function isSameMark(one: CredentialMark, other: CredentialMark): boolean {
  return one.refresh === other.refresh && one.bearer === other.bearer && one.generation === other.generation
}

/** The narrowest class of a failure that is still bounded: what caused it, else our own code, else the outcome. */
function failureType(error: GatewayError, outcome: TokenRequestOutcome): string {
  if (error.cause !== undefined) return errorType(error.cause)
  return error.code === 'GW_REFRESH_FAILED' || error.code === 'GW_NEEDS_LOGIN' ? outcome : error.code
}
