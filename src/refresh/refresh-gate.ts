import { setTimeout as sleep } from 'node:timers/promises'
import { diag } from '@opentelemetry/api'
import type { FlightOutcome, ProfileState } from '../../otel/enums.ts'
import { ATTR_ERROR_TYPE, EVENT_WAITING_ENDED } from '../../otel/semconv.ts'
import { type CredentialMark, markOf } from '../domain/cooldown.ts'
import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { profileStateOf } from '../domain/profile-state.ts'
import { isPermanent } from '../domain/refresh-outcome.ts'
import type { Registry } from '../providers/registry.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type Clock, systemClock } from '../tools/clock.ts'
import { type Admission, isUsable, judgeVisit, type Visit } from './acquire.ts'
import { VisitRecord } from './acquire-record.ts'
import { Backoff } from './backoff.ts'
import { Lineage } from './lineage.ts'
import { NEEDS_REFRESH_DEFAULTS, needsRefresh } from './needs-refresh.ts'
import { Unwritten } from './pending-writes.ts'
import {
  deadGrant,
  type FlightDeck,
  type FlightOptions,
  type FlightResult,
  type FlightStep,
  needsLogin,
  unknownProfile,
} from './refresh-context.ts'
import { FlightRecord } from './refresh-record.ts'
import { fly } from './run-refresh.ts'
import { LastKnown } from './stale-cache.ts'
import { abortedVisit, waitFor } from './wait.ts'

export const GATE_DEFAULTS = {
  leaseWaitMs: 90_000,
  requestTimeoutMs: 20_000,
  listenMs: 300_000,
  earlyMs: NEEDS_REFRESH_DEFAULTS.earlyMs,
  forced: 'reuse',
} as const satisfies FlightOptions

export interface RefreshGateOptions {
  store: ProfileStore
  registry: Registry
  telemetry: Telemetry
  options?: Partial<FlightOptions>
  clock?: Clock
  random?: () => number
  /** Told at each step of a flight, synchronously. */
  onStep?: (step: FlightStep) => void
}

const VISIT_DEADLINE_MS = 60_000
/** How often at the most a visit tries again to write what the store refused. */
const REWRITE_EVERY_MS = 5_000

/** How long a visit that comes to a flight that let its visits go is to leave it alone. */
const LISTENING_RETRY_MS = 5_000
/** Pause between the last tries to write what the store refused. */
const LAST_WRITES_EVERY_MS = 200

interface Flight {
  readonly record: FlightRecord
  /** How it ends for its visits: with its end, or when they need not wait any longer. */
  readonly result: Promise<FlightResult>
  readonly end: Promise<FlightResult>
  /** Ends what it waits for. */
  readonly ending: AbortController
  /** Why its visits need not wait any longer, since that is so. */
  letGo?: GatewayError
}

/** A refresh that failed, and the tokens that it was about: of others it says nothing. */
interface FailedRefresh {
  readonly error: GatewayError
  readonly tried: CredentialMark
}

/** Why a refresh is not made, or has failed, and the ms until the gate tries again; 0 where the next visit does. */
export interface RefreshPause {
  readonly outcome: FlightOutcome
  readonly waitMs: number
}

/** New tokens that the store could not take. */
export interface Unsaved {
  /** Names of their profiles, as messages may show them. */
  readonly profiles: readonly string[]
  /** What the store said last. */
  readonly cause: unknown
}

/** How long an ending process waits, in ms. */
export interface SettleOptions {
  /** For the flights under way; what they then wait for is given up. @default `requestTimeoutMs` */
  graceMs?: number
  /** For a store that refuses the new tokens. @default 0: one try */
  writeMs?: number
}

/**
 * The one door to the token endpoints.
 *
 * However many visits come at once for a profile, forced or not, in one process or in several: one token request. A
 * visitor who leaves only stops waiting; the flight goes on, and what it brings is stored before anybody sees it.
 */
export class RefreshGate {
  /** The refresh tokens that are known, current ones and rotated ones. */
  readonly lineage = new Lineage()
  readonly #deck: FlightDeck
  readonly #telemetry: Telemetry
  readonly #backoff: Backoff
  readonly #flights = new Map<string, Flight>()
  /** Flights whose lease is not given back yet. */
  readonly #departed = new Set<Promise<void>>()
  readonly #lastKnown = new LastKnown()
  /** How the last flight of a profile failed, until one succeeds. */
  readonly #failures = new Map<string, FailedRefresh>()
  #rewriteAt = 0

  constructor({ store, registry, telemetry, options, clock = systemClock, random, onStep }: RefreshGateOptions) {
    this.#telemetry = telemetry
    this.#backoff = new Backoff(random)
    this.#deck = {
      store,
      registry,
      clock,
      options: { ...GATE_DEFAULTS, ...options },
      unwritten: new Unwritten(),
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
    const { store, unwritten, clock } = this.#deck
    try {
      const stored = await store.read(profileId)
      this.#lastKnown.read(profileId, stored)
      return unwritten.over(profileId, stored)
    } catch (error) {
      this.#telemetry.instruments.add('storeErrors', { operation: 'read', [ATTR_ERROR_TYPE]: errorType(error) })
      const known = unwritten.over(profileId, this.#lastKnown.unreadable(profileId))
      if (!known || !isUsable(known, clock.now()) || isGatewayError(error, 'GW_CLOSED')) throw error
      return known
    }
  }

  /** Why the profile should visit the gate before it is used; `undefined` when it can be used as it is. */
  needs(profile: StoredProfile): ReturnType<typeof needsRefresh> {
    return isOAuth(profile.credential) ? needsRefresh(profile.credential, this.#deck.clock.now(), this.#deck.options) : undefined
  }

  /**
   * Visits the gate. Call it synchronously where the wish arises; the caller site comes with the visit.
   *
   * @returns The profile with a token that can be used, and how the visit came by it.
   * @throws {GatewayError} `GW_NEEDS_LOGIN` (sign in again), `GW_REFRESH_FAILED` and `GW_REFRESH_BACKOFF` (may pass),
   *   `GW_VISIT_TIMEOUT`, `GW_VISIT_ABORTED` (this visitor stopped waiting), `GW_PROFILE_UNKNOWN`, or a store's code.
   */
  async enter(visit: Visit): Promise<Admission> {
    const record = new VisitRecord(this.#telemetry, visit)
    try {
      const admission = await this.#admit(visit, record)
      record.left(admission.decision, { outcome: admission.outcome })
      return admission
    } catch (error) {
      record.left(record.boardedAs ?? 'refuse', { error })
      throw error
    }
  }

  /** What the profile can do right now. @param isResting Calls leave it alone after a failure. @default false */
  stateOf(profile: StoredProfile, isResting = false): ProfileState {
    const { unwritten, clock, options } = this.#deck
    return profileStateOf({
      credential: profile.credential,
      now: clock.now(),
      earlyMs: options.earlyMs,
      isDead: deadGrant(profile) !== undefined,
      isInMemoryOnly: unwritten.has(profile.id) || this.#lastKnown.isUnreadable(profile.id),
      isResting,
    })
  }

  /**
   * Why the gate sends no refresh of this login right now, and how long that lasts; `undefined` where it would send one.
   *
   * @returns The outcome of the refresh that failed a moment ago, and the ms that are left.
   */
  pauseOf(profile: StoredProfile): RefreshPause | undefined {
    const underWay = this.#flights.get(profile.id)
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

  /** Says whether a visit would begin a refresh now: none is under way, and the gate does not pause. */
  isFree(profile: StoredProfile): boolean {
    return !this.#flights.has(profile.id) && this.#pauseMs(profile) === 0
  }

  /**
   * Waits for the flights under way, so that a process that ends does not leave an answer unheard, and tries until
   * `writeMs` have passed to write what the store refused.
   *
   * @returns What is in the memory of this process only: with the process it is gone.
   */
  async settled({ graceMs = this.#deck.options.requestTimeoutMs, writeMs = 0 }: SettleOptions = {}): Promise<Unsaved> {
    const giveUp = setTimeout(() => {
      for (const { ending } of this.#flights.values()) ending.abort(new DOMException('the process ends', 'AbortError'))
    }, graceMs)
    await Promise.all(this.#departed)
    clearTimeout(giveUp)
    const { unwritten, store, nameOf } = this.#deck
    let cause: unknown
    for (const start = performance.now(); unwritten.profileIds.length > 0; await sleep(LAST_WRITES_EVERY_MS)) {
      const writes = await Promise.allSettled(unwritten.profileIds.map(profileId => unwritten.write(profileId, store)))
      cause = writes.find(write => write.status === 'rejected')?.reason
      if (performance.now() - start >= writeMs) break
    }
    return { profiles: unwritten.tokensOf.map(nameOf), cause }
  }

  async #admit(visit: Visit, record: VisitRecord): Promise<Admission> {
    const profile = await this.current(visit.profileId)
    if (!profile || !isOAuth(profile.credential)) throw unknownProfile(this.#deck, visit.profileId)
    const { clock, options } = this.#deck
    const verdict = judgeVisit(profile.credential, visit, { now: clock.now(), earlyMs: options.earlyMs, forced: options.forced })
    if (verdict !== 'fly') return { decision: verdict, profile }
    return this.#board(visit, profile, record)
  }

  async #board(visit: Visit, profile: StoredProfile, record: VisitRecord): Promise<Admission> {
    const underWay = this.#flights.get(visit.profileId)
    const refusal = underWay ? this.#stillListening(visit, underWay) : this.#refusal(visit, profile)
    if (refusal) return this.#orStillUsable(visit, profile, { error: refusal })
    const flight = underWay ?? this.#takeOff(visit, profile, record)
    record.boards(flight.record, underWay ? 'join' : 'lead')
    const { clock } = this.#deck
    const boardedAt = clock.monotonic()
    const deadlineMs = visit.deadlineMs ?? VISIT_DEADLINE_MS
    // An operator waits as long as he said, whatever the others do.
    const work = visit.reason === 'operator' ? flight.end : flight.result
    const result = await this.#await(work, { ...visit, deadlineMs })
    if (result.error) return this.#orStillUsable(visit, profile, result)
    // A flight that had begun before the provider rejected this token may have brought nothing newer.
    if (underWay && visit.rejected && !isUsable(result.profile, clock.now(), visit.rejected))
      return this.#admit({ ...visit, deadlineMs: Math.max(0, deadlineMs - (clock.monotonic() - boardedAt)) }, record)
    return {
      decision: underWay ? 'join' : result.outcome === 'reused' ? 'adopt' : 'lead',
      profile: result.profile,
      outcome: result.outcome,
    }
  }

  /** The flight's end, or the end of this visitor's patience as the error of a flight without outcome. */
  async #await(
    result: Promise<FlightResult>,
    { deadlineMs, signal }: Visit & { deadlineMs: number },
  ): Promise<FlightResult | { error: GatewayError }> {
    try {
      return await waitFor(result, deadlineMs, signal)
    } catch (error) {
      if (isGatewayError(error, 'GW_VISIT_TIMEOUT')) return { error }
      throw error
    }
  }

  /** A refresh that failed or dawdles does not stop a visitor whose token still works: it wanted a newer one, it did not need it. */
  #orStillUsable(visit: Visit, profile: StoredProfile, { outcome, error }: { outcome?: FlightOutcome; error: GatewayError }): Admission {
    if (visit.reason === 'operator' || !isUsable(profile, this.#deck.clock.now(), visit.rejected)) throw error
    return { decision: 'reuse', profile, ...(outcome && { outcome }) }
  }

  /** The answer has been awaited for so long already that nobody waits for it: another profile may serve meanwhile. */
  #stillListening({ profileId, reason }: Visit, { letGo }: Flight): GatewayError | undefined {
    if (!letGo || reason === 'operator') return undefined
    return new GatewayError(
      'GW_REFRESH_BACKOFF',
      `the refresh of profile ${this.#deck.nameOf(profileId)} is still under way (${letGo.message})`,
      { next: letGo.next, retryAfterMs: LISTENING_RETRY_MS, cause: letGo, ...(letGo.outcome && { outcome: letGo.outcome }) },
    )
  }

  #refusal(visit: Visit, profile: StoredProfile): GatewayError | undefined {
    if (visit.signal?.aborted) throw abortedVisit(visit.signal)
    if (visit.reason === 'operator') return undefined
    const dead = deadGrant(profile)
    if (dead) return needsLogin(this.#deck, profile, dead.outcome)
    const retryAfterMs = this.#pauseMs(profile)
    if (retryAfterMs === 0) return undefined
    const seconds = Math.ceil(retryAfterMs / 1000)
    const cause = this.#failureOf(profile)
    return new GatewayError(
      'GW_REFRESH_BACKOFF',
      `the refresh of profile ${this.#deck.nameOf(profile.id)} failed a moment ago; tried again in ${seconds} s${cause ? ` (${cause.message})` : ''}`,
      { next: cause?.next ?? 'try_again_later', retryAfterMs, cause, ...(cause?.outcome && { outcome: cause.outcome }) },
    )
  }

  /** Ms until the login may be refreshed again. A failure of other tokens does not hold up those it holds now. */
  #pauseMs(profile: StoredProfile): number {
    return this.#failureOf(profile) ? this.#backoff.remainingMs(profile.id, this.#deck.clock.monotonic()) : 0
  }

  #failureOf({ id, credential }: StoredProfile): GatewayError | undefined {
    const failed = this.#failures.get(id)
    return failed && isSameMark(failed.tried, markOf(credential)) ? failed.error : undefined
  }

  #takeOff(visit: Visit, profile: StoredProfile, { span: leader }: VisitRecord): Flight {
    const tried = markOf(profile.credential)
    const record = new FlightRecord(this.#telemetry, {
      provider: profile.provider,
      profileId: visit.profileId,
      caller: visit.caller,
      reason: visit.reason,
      leader,
    })
    const end = Promise.withResolvers<FlightResult>()
    const result = Promise.withResolvers<FlightResult>()
    const flight: Flight = { record, result: result.promise, end: end.promise, ending: new AbortController() }
    this.#flights.set(visit.profileId, flight)
    const departed = fly({
      deck: this.#deck,
      visit,
      record,
      ending: flight.ending.signal,
      letGo: failure => {
        if (flight.letGo) return
        flight.letGo = failure.error
        guarded(() => record.event(EVENT_WAITING_ENDED))
        result.resolve(failure)
      },
      ended: ended => {
        this.#flights.delete(visit.profileId)
        // Whatever fails in here must not cost the visits the token.
        guarded(() => record.ended(ended.outcome, ended.error && (ended.errorType ?? failureType(ended.error, ended.outcome))))
        guarded(() => this.#noteEnd(visit.profileId, ended, tried))
        end.resolve(ended)
        result.resolve(ended)
      },
    }).finally(() => this.#departed.delete(departed))
    this.#departed.add(departed)
    return flight
  }

  #noteEnd(profileId: string, { outcome, profile, error }: FlightResult, tried: CredentialMark): void {
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
    else if (!isPermanent(outcome)) this.#backoff.failed(profileId, this.#deck.clock.monotonic(), error.retryAfterMs)
  }

  #rewriteSoon(): void {
    const { unwritten, clock, store } = this.#deck
    if (unwritten.profileIds.length === 0 || clock.monotonic() < this.#rewriteAt) return
    this.#rewriteAt = clock.monotonic() + REWRITE_EVERY_MS
    // The store says again what is wrong at the next flight; until then the tokens serve from memory.
    for (const profileId of unwritten.profileIds) unwritten.write(profileId, store).catch(() => undefined)
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
function failureType(error: GatewayError, outcome: FlightOutcome): string {
  if (error.cause !== undefined) return errorType(error.cause)
  return error.code === 'GW_REFRESH_FAILED' || error.code === 'GW_NEEDS_LOGIN' ? outcome : error.code
}
