import { takeCallerSite } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { REFRESH_REASONS, type RefreshReason, type TokenRequestOutcome } from '../domain/enums.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { errorType } from '../domain/gateway-error.ts'
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
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'
import { judgeTokenAnswer } from '../token-requests/judge.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { AcquireRecord } from './acquire-record.ts'
import { RecentRotations } from './recent-rotations.ts'
import { RefreshRecord } from './refresh-record.ts'
import { checkedDeadline, waitFor } from './wait.ts'

/**
 * How the arguments and the result of another caller's refresh function are read. A callback that throws is reported once
 * through `diag` and `onError`, and the refresh function runs as if it were not wrapped.
 */
export interface WrapRefreshOptions<F extends AsyncFunction> {
  /** The provider whose token endpoint is asked. */
  provider: string
  /** Which profile the call refreshes: the calls of one profile share one refresh. A call whose profile cannot be read shares none. */
  profile: ValueOrReader<F, string>
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
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
  /** Token requests the function may make in one refresh, retries included; 0 lets none through. @default 3 */
  requests?: number
  /** Longest wait of one caller, in ms; 0 does not wait: the refresh starts, and this caller gets `GW_ACQUIRE_TIMEOUT`. @default 60_000 */
  timeoutMs?: number
}

const WRAP_REFRESH_DEFAULTS = { requests: 3, deadlineMs: 60_000 } as const
/** A permit for a foreign function is good for this long; its own time-out is not known here. */
const PERMIT_LIFETIME_MS = 120_000
/** Errors of clients that got no answer; also of those whose requests no watch sees. */
const OF_NETWORK = /^(?:E[A-Z]{3,}|UND_ERR_\w+|AbortError|TimeoutError)$/
const ACCESS_FIELDS = ['access', 'accessToken', 'access_token', 'token'] as const

interface RunningRefresh<R> {
  readonly work: Promise<R>
  readonly record: RefreshRecord
  readonly permit: Permit
}

/** One call of the wrapped function, as far as its arguments could be read. */
interface Asked<R> {
  readonly caller: CallerSite
  /** `undefined` when the option failed: then nothing is shared. */
  readonly profileId: string | undefined
  readonly reason: RefreshReason
  readonly replaced: Fingerprint | undefined
  readonly run: () => Promise<R>
}

/**
 * Puts a gate around a refresh function that the application wrote, with a store of their own.
 *
 * Callers of one profile share one refresh; each is seen with its own caller site and reason. Token requests made inside
 * the refresh carry a permit, so what reaches the token endpoint without one is a bypass.
 *
 * @param tokenUrl The provider's token URL, for the permit.
 * @returns A function with the same `this`, arguments and result. It rejects with what `refresh` rejects with, or with
 *   `GW_ACQUIRE_TIMEOUT` when this caller waited too long; the refresh goes on.
 * @throws {RangeError} for a `timeoutMs` that is no time.
 */
export function wrapRefresh<F extends AsyncFunction>(
  telemetry: Telemetry,
  tokenUrl: string,
  refresh: F,
  options: WrapRefreshOptions<F>,
): F {
  const { faults } = telemetry
  const gate = new WrapRefreshGate<Resolved<F>>(telemetry, {
    provider: options.provider,
    tokenUrl,
    requests: options.requests ?? WRAP_REFRESH_DEFAULTS.requests,
    deadlineMs: checkedDeadline('wrapRefresh: timeoutMs', options.timeoutMs) ?? WRAP_REFRESH_DEFAULTS.deadlineMs,
    accessOf: result => faults.text('the option wrapRefresh.accessToken', () => (options.accessToken ?? accessIn)(result)),
    adopts: options.rejectedToken !== undefined,
  })
  async function gated(this: unknown, ...parameters: Parameters<F>): Promise<Resolved<F>> {
    const replacedToken = faults.text('the option wrapRefresh.rejectedToken', () => options.rejectedToken?.(...parameters))
    registerSecret(replacedToken)
    return gate.enter({
      caller: takeCallerSite(gated),
      profileId: faults.text('the option wrapRefresh.profile', () => valueFor(options.profile, parameters)),
      reason: reasonOf(faults, () => valueFor(options.reason, parameters)),
      replaced: fingerprint(replacedToken),
      run: () => callWrapped(refresh, this, parameters),
    })
  }
  return gated as F
}

interface WrapRefreshGateOptions<R> {
  readonly provider: string
  readonly tokenUrl: string
  readonly requests: number
  readonly deadlineMs: number
  readonly accessOf: (result: R) => string | undefined
  /** Callers say which token they want replaced: what the last refreshes brought is kept for a minute. */
  readonly adopts: boolean
}

/** The refreshes of one wrapped refresh function. */
class WrapRefreshGate<R> {
  readonly #telemetry: Telemetry
  readonly #options: WrapRefreshGateOptions<R>
  readonly #running = new Map<string, RunningRefresh<R>>()
  readonly #rotations = new RecentRotations<R>()

  constructor(telemetry: Telemetry, options: WrapRefreshGateOptions<R>) {
    this.#telemetry = telemetry
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
    const joined = this.#underWay(asked)
    try {
      const result = await this.#ride(asked, acquireRecord)
      // A refresh that was under way may have brought the very token that this caller was refused with since.
      const again = joined && replaced !== undefined && fingerprint(this.#options.accessOf(result)) === replaced
      const settled = again ? await this.#ride(asked, acquireRecord) : result
      acquireRecord.left(acquireRecord.joinedAs ?? 'lead')
      return settled
    } catch (error) {
      acquireRecord.left(acquireRecord.joinedAs ?? 'lead', { error })
      throw error
    }
  }

  /** Leads or joins a refresh and waits for it. */
  async #ride(asked: Asked<R>, acquireRecord: AcquireRecord): Promise<R> {
    const underWay = this.#underWay(asked)
    const running = underWay ?? this.#start(asked, acquireRecord)
    acquireRecord.joins(running.record, underWay ? 'join' : 'lead')
    return waitFor(running.work, this.#options.deadlineMs)
  }

  /** A refresh function that calls itself, by its wrapped name, would wait for itself: the inner call runs on its own. */
  #underWay({ profileId }: Asked<R>): RunningRefresh<R> | undefined {
    const running = profileId === undefined ? undefined : this.#running.get(profileId)
    return running && running.permit !== carriedPermit() ? running : undefined
  }

  #start(asked: Asked<R>, { span: primary }: AcquireRecord): RunningRefresh<R> {
    const { provider, tokenUrl, requests } = this.#options
    const { profileId, caller, reason } = asked
    const record = new RefreshRecord(this.#telemetry, { provider, profileId: profileId ?? 'unknown', caller, reason, primary })
    const permit = new Permit({ url: tokenUrl, lifetimeMs: PERMIT_LIFETIME_MS, uses: requests })
    record.step('request_sent')
    const { promise: work, resolve } = Promise.withResolvers<R>()
    const refreshRun = { work, record, permit }
    // Before the function is called: it may call its wrapped self at once.
    if (profileId !== undefined && !this.#running.has(profileId)) this.#running.set(profileId, refreshRun)
    const over = () => {
      if (profileId !== undefined && this.#running.get(profileId) === refreshRun) this.#running.delete(profileId)
    }
    work.then(over, over)
    resolve(this.#runRefresh(asked, record, permit))
    return refreshRun
  }

  async #runRefresh(asked: Asked<R>, record: RefreshRecord, permit: Permit): Promise<R> {
    const { faults } = this.#telemetry
    try {
      const result = await runInContext(contextOf(record.span), () => carryPermit(permit, async () => asked.run()))
      faults.guard('the record of a refresh', () => this.#landed(asked, result, record, permit), undefined)
      return result
    } catch (error) {
      faults.guard('the record of a refresh', () => failed(record, permit, error), undefined)
      throw error
    } finally {
      // A timer that was set inside still carries the permit; what it sends later was not let through.
      permit.close()
    }
  }

  #landed({ profileId, replaced }: Asked<R>, result: R, record: RefreshRecord, permit: Permit): void {
    const { answered = 0, judgement } = permit
    const isGood = judgement === undefined || isSuccess(judgement.outcome)
    // A function that looks at the status alone takes a refusal with status 200 for tokens.
    if (!isGood && judgement.outcome !== 'unreadable' && answered >= 200 && answered < 300) {
      noteRequests(record, permit)
      record.ended(judgement.outcome)
      return
    }
    record.ended(isGood && judgement ? judgement.outcome : 'rotated')
    const { adopts, accessOf } = this.#options
    if (!adopts || profileId === undefined) return
    const access = accessOf(result)
    registerSecret(access)
    this.#rotations.landed(profileId, {
      replaced,
      brought: fingerprint(access),
      expiresAt: access === undefined ? undefined : expiryOfJwt(access),
      result,
    })
  }
}

function failed(record: RefreshRecord, permit: Permit, error: unknown): void {
  noteRequests(record, permit)
  record.ended(outcomeOf(permit, error), errorType(error))
}

function noteRequests(record: RefreshRecord, { answered, shown }: Permit): void {
  record.set({ httpStatus: answered, tokenRequests: shown })
}

/** By its last token request; where none was seen, or its answer was good, the error is the function's own unless the network caused it. */
function outcomeOf({ shown, judgement }: Permit, error: unknown): TokenRequestOutcome {
  if (shown === 0) return OF_NETWORK.test(errorType(error)) ? judgeTokenAnswer({ error }).outcome : 'application_error'
  if (!judgement) return 'unavailable'
  return isSuccess(judgement.outcome) ? 'application_error' : judgement.outcome
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
