import { takeCallerSite } from '../callers/caller.ts'
import type { RawFrame } from '../callers/stack-frames.ts'
import { TrustedCallers } from '../callers/trusted-callers.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { REFRESH_REASONS, type RefreshReason, TOKEN_REQUEST_OUTCOMES, type TokenRequestOutcome } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { errorType, isGatewayError } from '../domain/gateway-error.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import {
  type AsyncFunction,
  callWrapped,
  type ReadFromCall,
  type Resolved,
  type ValueOrReader,
  valueFor,
} from '../domain/wrapped-function.ts'
import { carriedPermit, carryPermit, Permit } from '../providers/permit.ts'
import { expiryOfJwt } from '../providers/token-fields.ts'
import { runInContext } from '../telemetry/active-context.ts'
import type { FaultReporter } from '../telemetry/fault-reporter.ts'
import { DURATION, type GivenFields, isGivenWell, MOMENT, momentOf, NAME, optional } from '../telemetry/given-fields.ts'
import type { EventFields } from '../telemetry/open-event.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'
import { judgeTokenAnswer } from '../token-requests/judge.ts'
import { setNewest } from '../tools/drop-oldest.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { AcquireRecord } from './acquire-record.ts'
import { RecentRotations } from './recent-rotations.ts'
import { RefreshRecord } from './refresh-record.ts'
import { abortedAcquire, checkedDeadline, waitFor } from './wait.ts'
import { type WrappedLogin, WrappedLogins } from './wrapped-logins.ts'

/**
 * How the arguments and the result of another caller's refresh function are read. A callback that throws is reported once
 * through `diag` and `onError`, and the refresh function runs as if it were not wrapped.
 */
export interface WrapRefreshOptions<F extends AsyncFunction> {
  /** The provider whose token endpoint is asked. */
  provider: string
  /** Which profile the call refreshes: the calls of one profile share one refresh. A call whose profile cannot be read shares none. */
  profile: ValueOrReader<F, string>
  /**
   * What the tokens are for, where one profile has several: an audience, a set of scopes. Calls with different keys share no
   * refresh; they follow each other, since each of them may send the profile's one refresh token.
   *
   * @default one key for all
   */
  key?: ValueOrReader<F, string>
  /** Why. @default 'unknown' */
  reason?: ValueOrReader<F, RefreshReason>
  /**
   * The access token that shall be replaced. With it, a caller that comes less than a minute after a refresh replaced this
   * token, or after later refreshes replaced what that one brought, gets the newest result instead of a further refresh
   * (compare-and-refresh). Only a result whose `accessToken` is another token is given.
   */
  rejectedToken?: ReadFromCall<F, string | undefined>
  /**
   * The access token in what the refresh function returns. Without one no later caller is given that result.
   *
   * @default the result itself when it is a string, else its `access`, `accessToken`, `access_token` or `token`
   */
  accessToken?: (result: Resolved<F>) => string | undefined
  /**
   * The tokens in what the refresh function returns: its profile then has expiry, age, generation and state in gauges, on the ops page
   * and in `profiles()`. Fingerprints and times are kept, never a token.
   *
   * @default nothing but the access token, as `accessToken` finds it; and the refresh tokens of requests that were seen
   */
  tokens?: (result: Resolved<F>) => RefreshedTokens | undefined
  /**
   * What became of a refresh, where its result or error says more than the answers of the token endpoint do: a function that
   * returns `{ ok: false }`, or throws because no user has signed in (`needs_login`).
   *
   * @default by the last answer that was seen; `reused` where the function sent no token request
   */
  outcome?: (end: RefreshEnd<Resolved<F>>) => TokenRequestOutcome | undefined
  /**
   * Functions of the application through which every caller comes, nearest ones included: they stay on the stack and are never
   * the caller. `NAME`, `Class.NAME` or `file#NAME`.
   *
   * @default []
   */
  sharedBy?: readonly string[]
  /** Ends the waiting of this call when it aborts, with `GW_ACQUIRE_ABORTED`; the refresh goes on for others. */
  signal?: ReadFromCall<F, AbortSignal | undefined>
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
  /** Token requests the function may make in one refresh, retries included; 0 lets none through. @default 3 */
  requests?: number
  /** Longest wait of one caller, in ms; 0 does not wait: the refresh starts, and this caller gets `GW_ACQUIRE_TIMEOUT`. @default 60_000 */
  timeoutMs?: number
}

/** The tokens that a refresh brought. What is left out is not known. */
export interface RefreshedTokens {
  readonly accessToken?: string | undefined
  readonly refreshToken?: string | undefined
  /** When the access token expires: epoch ms, or a date. */
  readonly expiresAt?: number | Date | undefined
  /** The same as seconds from now, as token endpoints say it. */
  readonly expiresInS?: number | undefined
}

/** How a wrapped refresh function ended: with a result or an error. */
export interface RefreshEnd<R> {
  readonly result?: R
  readonly error?: unknown
}

const TOKEN_FIELDS = {
  accessToken: optional(NAME),
  refreshToken: optional(NAME),
  expiresAt: optional(MOMENT),
  expiresInS: optional(DURATION),
} satisfies Record<keyof RefreshedTokens, unknown> & GivenFields

const WRAP_REFRESH_DEFAULTS = { requests: 3, deadlineMs: 60_000 } as const
/** A permit for a foreign function is good for this long; its own time-out is not known here. */
const PERMIT_LIFETIME_MS = 120_000
/** Errors of clients that got no answer; also of those whose requests no watch sees. */
const OF_NETWORK = /^(?:E[A-Z]{3,}|UND_ERR_\w+|AbortError|TimeoutError)$/
/** Errors of a disk that keeps nothing. */
const OF_DISK = /^(?:ENOSPC|EDQUOT|EROFS|EACCES|EPERM|EIO|EMFILE)$/
const ACCESS_FIELDS = ['access', 'accessToken', 'access_token', 'token'] as const

interface RunningRefresh {
  /** The function that runs; what it resolves with is for its own callers alone. */
  readonly refresh: AsyncFunction
  readonly key: string | undefined
  readonly work: Promise<unknown>
  readonly record: RefreshRecord
  readonly permit: Permit
  readonly signal: AbortSignal | undefined
}

/** One run of the refresh function. */
interface RefreshRun {
  readonly record: RefreshRecord
  readonly permit: Permit
  /** What was known of the login when it began. */
  readonly before: WrappedLogin | undefined
  /** Epoch ms. */
  readonly startedMs: number
}

/** What a run has come to, by fingerprints. */
interface BroughtTokens {
  readonly outcome: TokenRequestOutcome
  readonly access: Fingerprint | undefined
  readonly refresh: Fingerprint | undefined
  readonly expiresAt: number | undefined
}

/** Profiles whose last token is remembered; the oldest go first. */
const MOST_PROFILES = 1_000

/** What the wrapped refresh functions of one Gatewatch share: a profile is in one refresh at a time, whichever of them runs it. */
export class WrappedRefreshes {
  readonly #running = new Map<string, RunningRefresh>()
  readonly #lastTokens = new Map<string, Fingerprint>()
  readonly logins = new WrappedLogins()
  readonly #seesRequests: () => boolean

  /** @param seesRequests Whether every token request of this process is seen. @default no */
  constructor(seesRequests: () => boolean = () => false) {
    this.#seesRequests = seesRequests
  }

  get seesRequests(): boolean {
    return this.#seesRequests()
  }

  of(profile: string): RunningRefresh | undefined {
    return this.#running.get(profile)
  }

  /** Enters a refresh until it has ended, unless it runs within one of the same profile. */
  begin(profile: string, refresh: RunningRefresh): void {
    if (this.#running.has(profile)) return
    this.#running.set(profile, refresh)
    const over = () => void this.#running.delete(profile)
    refresh.work.then(over, over)
  }

  /** Notes the token that a refresh returned. @returns whether the one before returned it too */
  returned(profile: string, token: Fingerprint | undefined): boolean {
    if (token === undefined) return false
    const isKnown = this.#lastTokens.get(profile) === token
    setNewest(this.#lastTokens, profile, token, MOST_PROFILES)
    return isKnown
  }
}

/** One call of the wrapped function, as far as its arguments could be read. */
interface Asked<R> {
  readonly caller: CallerSite
  /** `undefined` when the option failed: then nothing is shared. */
  readonly profileId: string | undefined
  readonly key: string | undefined
  readonly reason: RefreshReason
  readonly replaced: Fingerprint | undefined
  readonly signal: AbortSignal | undefined
  readonly run: () => Promise<R>
}

/**
 * Puts a gate around a refresh function that the application wrote, with a store of their own.
 *
 * Callers of one profile share one refresh; a call of another wrapped function, or with another key, waits until it has ended. An
 * abort of the call that leads is none of those that joined it: the first of them leads a further refresh. Each is seen with its own caller site and reason. Token requests made inside
 * the refresh carry a permit, so what reaches the token endpoint without one is a bypass.
 *
 * @param tokenUrl The provider's token URL, for the permit.
 * @param shared Refreshes of the other wrapped functions. @default this function shares with no other
 * @returns A function with the same `this`, arguments and result. It rejects with what `refresh` rejects with, or with
 *   `GW_ACQUIRE_TIMEOUT` when this caller waited too long, `GW_ACQUIRE_ABORTED` when its signal aborts; the refresh goes on.
 * @throws {RangeError} for a `timeoutMs` that is no time. {TypeError} for a `sharedBy` that is no list of names.
 */
export function wrapRefresh<F extends AsyncFunction>(
  telemetry: Telemetry,
  tokenUrl: string,
  refresh: F,
  options: WrapRefreshOptions<F>,
  shared = new WrappedRefreshes(),
): F {
  const { faults } = telemetry
  const { outcome } = options
  const sharedBy = checkedNames(options.sharedBy)
  const approach = sharedBy.length > 0 ? new TrustedCallers([], { approach: sharedBy }) : undefined
  const outside = approach && ((frames: readonly RawFrame[]) => approach.outside(frames))
  const gate = new WrapRefreshGate<Resolved<F>>(telemetry, shared, {
    provider: options.provider,
    tokenUrl,
    refresh,
    outcomeOf: end => outcome && faults.guard('the option wrapRefresh.outcome', () => known(outcome(end)), undefined),
    requests: options.requests ?? WRAP_REFRESH_DEFAULTS.requests,
    deadlineMs: checkedDeadline('wrapRefresh: timeoutMs', options.timeoutMs) ?? WRAP_REFRESH_DEFAULTS.deadlineMs,
    accessOf: result => faults.text('the option wrapRefresh.accessToken', () => (options.accessToken ?? accessIn)(result)),
    tokensOf: result => tokensIn(faults, result, options.tokens),
    givesTokens: options.tokens !== undefined,
    adopts: options.rejectedToken !== undefined,
  })
  async function gated(this: unknown, ...parameters: Parameters<F>): Promise<Resolved<F>> {
    const replacedToken = faults.text('the option wrapRefresh.rejectedToken', () => options.rejectedToken?.(...parameters))
    registerSecret(replacedToken)
    return gate.enter({
      caller: takeCallerSite(gated, outside),
      profileId: faults.text('the option wrapRefresh.profile', () => valueFor(options.profile, parameters)),
      key: faults.text('the option wrapRefresh.key', () => valueFor(options.key, parameters)),
      reason: reasonOf(faults, () => valueFor(options.reason, parameters)),
      replaced: fingerprint(replacedToken),
      signal: faults.guard('the option wrapRefresh.signal', () => options.signal?.(...parameters), undefined),
      run: () => callWrapped(refresh, this, parameters),
    })
  }
  return gated as F
}

interface WrapRefreshGateOptions<R> {
  readonly provider: string
  readonly tokenUrl: string
  readonly refresh: AsyncFunction
  readonly outcomeOf: (end: RefreshEnd<R>) => TokenRequestOutcome | undefined
  readonly requests: number
  readonly deadlineMs: number
  readonly accessOf: (result: R) => string | undefined
  readonly tokensOf: (result: R) => RefreshedTokens | undefined
  readonly givesTokens: boolean
  /** Callers say which token they want replaced: what the last refreshes brought is kept for a minute. */
  readonly adopts: boolean
}

/** The refreshes of one wrapped refresh function. */
class WrapRefreshGate<R> {
  readonly #telemetry: Telemetry
  readonly #options: WrapRefreshGateOptions<R>
  readonly #shared: WrappedRefreshes
  readonly #rotations = new RecentRotations<R>()

  constructor(telemetry: Telemetry, shared: WrappedRefreshes, options: WrapRefreshGateOptions<R>) {
    this.#telemetry = telemetry
    this.#shared = shared
    this.#options = options
  }

  async enter(asked: Asked<R>): Promise<R> {
    const { caller, reason, replaced, profileId = 'unknown' } = asked
    const { provider } = this.#options
    const acquireRecord = new AcquireRecord(this.#telemetry, { provider, profileId, caller, reason, rejected: replaced })
    const newer = this.#rotations.newerThan(profileId, replaced)
    if (newer) {
      acquireRecord.left('adopt')
      return newer.result
    }
    if (asked.signal?.aborted) {
      const error = abortedAcquire(asked.signal)
      acquireRecord.left('refuse', { error })
      throw error
    }
    const leavesAtMs = performance.now() + this.#options.deadlineMs
    const joined = this.#underWay(asked)
    try {
      const result = await this.#ride(asked, acquireRecord, leavesAtMs)
      // A refresh that was under way may have brought the very token that this caller was refused with since.
      const again = joined && replaced !== undefined && fingerprint(this.#options.accessOf(result)) === replaced
      const settled = again ? await this.#ride(asked, acquireRecord, leavesAtMs) : result
      acquireRecord.left(acquireRecord.joinedAs ?? 'lead')
      return settled
    } catch (error) {
      acquireRecord.left(acquireRecord.joinedAs ?? 'lead', { error })
      throw error
    }
  }

  /** Leads or joins a refresh and waits for it, behind one that this call cannot join. */
  async #ride(asked: Asked<R>, acquireRecord: AcquireRecord, leavesAtMs: number): Promise<R> {
    const { signal } = asked
    const wait = <T>(work: Promise<T>) => waitFor(work, Math.max(0, leavesAtMs - performance.now()), signal)
    for (;;) {
      const underWay = this.#underWay(asked)
      if (!underWay) return await wait(this.#start(asked, acquireRecord) as Promise<R>)
      if (!this.#isShared(underWay, asked)) {
        await wait(underWay.work.then(ignore, ignore))
        continue
      }
      acquireRecord.joins(underWay.record, 'join')
      try {
        return await wait(underWay.work as Promise<R>)
      } catch (error) {
        if (isGatewayError(error) || !isAbortOf(underWay, error)) throw error
      }
    }
  }

  #isShared({ refresh, key }: RunningRefresh, asked: Asked<R>): boolean {
    return refresh === this.#options.refresh && key === asked.key
  }

  /** A refresh function that calls itself, or another of its profile, would wait for itself: the inner call runs on its own. */
  #underWay({ profileId }: Asked<R>): RunningRefresh | undefined {
    const running = profileId === undefined ? undefined : this.#shared.of(this.#profile(profileId))
    return running && !carriedPermit()?.isWithin(running.permit) ? running : undefined
  }

  #profile(profileId: string): string {
    return `${this.#options.provider} ${profileId}`
  }

  #start(asked: Asked<R>, acquireRecord: AcquireRecord): Promise<unknown> {
    const { provider, tokenUrl, requests, refresh } = this.#options
    const { profileId, key, caller, reason, signal } = asked
    const { span: primary } = acquireRecord
    const record = new RefreshRecord(this.#telemetry, { provider, profileId: profileId ?? 'unknown', caller, reason, primary })
    acquireRecord.joins(record, 'lead')
    const permit = new Permit({
      url: tokenUrl,
      lifetimeMs: PERMIT_LIFETIME_MS,
      uses: requests,
      within: carriedPermit(),
      onShown: () => record.step('request_sent'),
      onSent: refresh => {
        if (refresh !== undefined && this.#shared.logins.lineageOf(refresh)?.rotatedAway) record.replays()
      },
    })
    const { promise: work, resolve } = Promise.withResolvers<R>()
    // Before the function is called: it may call its wrapped self at once.
    if (profileId !== undefined) this.#shared.begin(this.#profile(profileId), { refresh, key, work, record, permit, signal })
    resolve(this.#runRefresh(asked, record, permit))
    return work
  }

  async #runRefresh(asked: Asked<R>, record: RefreshRecord, permit: Permit): Promise<R> {
    const { faults } = this.#telemetry
    const before = asked.profileId === undefined ? undefined : this.#shared.logins.of(this.#login(asked.profileId))
    const run: RefreshRun = { record, permit, before, startedMs: Date.now() }
    try {
      const result = await runInContext(contextOf(record.span), () => carryPermit(permit, async () => asked.run()))
      faults.guard('the record of a refresh', () => this.#landed(asked, result, run), undefined)
      return result
    } catch (error) {
      faults.guard('the record of a refresh', () => this.#failed(asked, error, run), undefined)
      throw error
    } finally {
      // A timer that was set inside still carries the permit; what it sends later was not let through.
      permit.close()
    }
  }

  #landed(asked: Asked<R>, result: R, run: RefreshRun): void {
    const { adopts, accessOf, outcomeOf, tokensOf } = this.#options
    const { profileId, replaced } = asked
    const { record, permit } = run
    const tokens = tokensOf(result)
    const access = tokens?.accessToken ?? accessOf(result)
    registerSecret(access)
    registerSecret(tokens?.refreshToken)
    const brought = fingerprint(access)
    const isKnown = profileId !== undefined && this.#shared.returned(this.#profile(profileId), brought)
    const isOld = isKnown || (brought !== undefined && brought === replaced)
    const outcome = outcomeOf({ result }) ?? this.#outcomeOfResult(permit, isOld)
    const expiresAt = expiryIn(tokens) ?? (access === undefined ? undefined : expiryOfJwt(access))
    if (!isSuccess(outcome)) noteRequests(record, permit)
    this.#noteTokens(asked, run, { outcome, access: brought, refresh: fingerprint(tokens?.refreshToken), expiresAt })
    record.ended(outcome)
    if (!adopts || profileId === undefined || !isSuccess(outcome)) return
    this.#rotations.landed(profileId, { replaced, brought, expiresAt, result })
  }

  /** Which token was sent, which came, and how old the former access token was; for the event, and for what comes later. */
  #noteTokens({ profileId }: Asked<R>, { record, permit, before, startedMs }: RefreshRun, brought: BroughtTokens): void {
    const { outcome, access, expiresAt } = brought
    const wasSent = permit.shown > 0 || outcome === 'rotated' || outcome === 'renewed'
    const sent = permit.sent ?? (wasSent && permit.shown === 0 ? before?.refresh : undefined)
    const received = brought.refresh ?? (isSuccess(outcome) ? permit.received : undefined)
    if (permit.judgement?.replayed) record.replays()
    if (wasSent) record.set({ refreshFingerprintBefore: sent, ...ageFields(before, startedMs) })
    if (wasSent && isSuccess(outcome)) record.set({ refreshFingerprintAfter: received ?? sent, credentialFingerprint: access })
    if (profileId === undefined) return
    const { givesTokens: isGiven } = this.#options
    this.#shared.logins.ended({ ...this.#login(profileId), outcome, sent, received, access, expiresAt, isGiven })
  }

  #login(profileId: string): { readonly provider: string; readonly profileId: string } {
    return { provider: this.#options.provider, profileId }
  }

  /** By the last answer that was seen, a refusal included that the function keeps to itself; by the token where none was seen. */
  #outcomeOfResult({ shown, judgement }: Permit, isOld: boolean): TokenRequestOutcome {
    // The function has read what could not be read here.
    if (judgement) return judgement.outcome === 'unreadable' ? 'rotated' : judgement.outcome
    if (shown > 0) return 'rotated'
    return isOld || this.#shared.seesRequests ? 'reused' : 'rotated'
  }

  #failed(asked: Asked<R>, error: unknown, run: RefreshRun): void {
    const { record, permit } = run
    const outcome = this.#options.outcomeOf({ error }) ?? outcomeOfError(permit, error)
    noteRequests(record, permit)
    this.#noteTokens(asked, run, { outcome, access: undefined, refresh: undefined, expiresAt: undefined })
    record.ended(outcome, { errorType: errorType(error) })
  }
}

/** What is said of the access token that was in use, and how often its login had rotated. */
function ageFields(before: WrappedLogin | undefined, startedMs: number): EventFields<'token_request'> {
  const secondsTo = (ms: number | undefined) => (ms === undefined ? undefined : Math.round((ms - startedMs) / 1000))
  const { generation, expiresAt, issuedAt } = before ?? {}
  const age = secondsTo(issuedAt)
  return { generation, credentialExpiresInS: secondsTo(expiresAt), tokenAgeS: age === undefined ? undefined : Math.abs(age) }
}

function ignore(): void {}

function checkedNames(names: unknown = []): readonly string[] {
  if (Array.isArray(names) && names.every((name): name is string => typeof name === 'string' && name !== '')) return names
  throw new TypeError(
    `wrapRefresh: sharedBy is ${Array.isArray(names) ? 'an array with a member that is no name' : `a value of type ${typeof names}`}, allowed: an array of names of functions`,
  )
}

/** Whether a refresh failed because the call that led it was given up. */
function isAbortOf({ signal }: RunningRefresh, error: unknown): boolean {
  return signal?.aborted === true || (error instanceof Error && error.name === 'AbortError')
}

/** @throws {RangeError} for an outcome that is none. */
function known(outcome: TokenRequestOutcome | undefined): TokenRequestOutcome | undefined {
  if (outcome === undefined || TOKEN_REQUEST_OUTCOMES.includes(outcome)) return outcome
  throw new RangeError(`is none of: ${TOKEN_REQUEST_OUTCOMES.join(', ')}`)
}

function noteRequests(record: RefreshRecord, { answered, shown }: Permit): void {
  record.set({ httpStatus: answered, tokenRequests: shown })
}

/** By its last token request; where none was seen, or its answer was good, the error is the function's own unless the network or a disk caused it. */
function outcomeOfError({ shown, judgement }: Permit, error: unknown): TokenRequestOutcome {
  const type = errorType(error)
  if (shown === 0) return OF_NETWORK.test(type) && !OF_DISK.test(type) ? judgeTokenAnswer({ error }).outcome : 'application_error'
  if (!judgement) return 'unavailable'
  if (!isSuccess(judgement.outcome)) return judgement.outcome
  return OF_DISK.test(type) ? 'not_persisted' : 'application_error'
}

/** The tokens that the application says are in a result, as far as they can be used. */
function tokensIn<R>(
  faults: FaultReporter,
  result: R,
  read: ((result: R) => RefreshedTokens | undefined) | undefined,
): RefreshedTokens | undefined {
  const place = 'the option wrapRefresh.tokens'
  const tokens = read && faults.guard(place, () => read(result), undefined)
  return tokens !== undefined && isGivenWell(faults, place, tokens, TOKEN_FIELDS) ? tokens : undefined
}

function expiryIn({ expiresAt, expiresInS }: RefreshedTokens = {}): number | undefined {
  if (expiresAt !== undefined) return momentOf(expiresAt)
  return expiresInS === undefined ? undefined : Date.now() + expiresInS * 1000
}

/** The access token in a result of usual shape. */
function accessIn(result: unknown): string | undefined {
  if (typeof result === 'string') return result
  if (typeof result !== 'object' || result === null) return undefined
  for (const field of ACCESS_FIELDS) {
    const value = (result as Record<string, unknown>)[field]
    if (typeof value === 'string') return value
  }
  return undefined
}

/** A reason that is none of the closed list would be a label without a legend. */
function reasonOf(faults: FaultReporter, read: () => string | undefined): RefreshReason {
  const place = 'the option wrapRefresh.reason'
  const said = faults.text(place, read)
  const known = REFRESH_REASONS.find(reason => reason === said)
  if (said !== undefined && !known) faults.report(place, new RangeError(`is none of: ${REFRESH_REASONS.join(', ')}`))
  return known ?? 'unknown'
}
