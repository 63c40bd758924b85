import { ATTR_HTTP_STATUS, ATTR_REJECTED_FINGERPRINT, ATTR_TOKEN_REQUESTS, EVENT_REQUEST_SENT } from '../../otel/names.ts'
import type { FlightOutcome, RefreshReason } from '../../otel/words.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { errorType } from '../domain/gateway-error.ts'
import { carryPermit, Permit } from '../providers/permit.ts'
import { takeCallerSite } from '../telemetry/caller.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { hideText } from '../tools/hidden-texts.ts'
import { FlightRecord } from './flight-record.ts'
import { VisitRecord } from './visit-record.ts'
import { waitFor } from './wait.ts'

/** How the arguments of somebody else's refresh function are read. */
export interface AroundOptions<A extends unknown[]> {
  /** The provider whose token endpoint is asked. */
  provider: string
  /** Which profile the call refreshes: the calls of one profile share one flight. */
  profile: (...parameters: A) => string
  /** Why. @default 'unknown' */
  reason?: (...parameters: A) => RefreshReason
  /**
   * The access token that shall be replaced. With it, a caller who comes just after a flight replaced this very token
   * gets that flight's result instead of a second refresh (compare-and-refresh).
   */
  replaces?: (...parameters: A) => string | undefined
  /** Token URL, when the provider is not one that Gatewatch knows. */
  tokenUrl?: string
  /** Token requests the function may make in one flight, retries included. @default 3 */
  requests?: number
  /** Longest wait of one caller, in ms. @default 60_000 */
  deadlineMs?: number
}

const AROUND_DEFAULTS = { requests: 3, deadlineMs: 60_000 } as const
/** A permit for a foreign function is good for this long; its own time-out is not known here. */
const PERMIT_LIFETIME_MS = 120_000
const MOST_REMEMBERED = 1_000

interface Flight<R> {
  readonly work: Promise<R>
  readonly record: FlightRecord
}

/** What the last flight of a profile replaced, and with what. */
interface Landed<R> {
  readonly replaced: Fingerprint
  readonly result: R
}

/**
 * Puts a gate around a refresh function that somebody else wrote, with a store of their own.
 *
 * Callers of one profile share one flight; each is seen with its own caller site and reason. Token requests made inside
 * the flight carry a permit, so what reaches the token endpoint without one is a bypass.
 *
 * @param tokenUrl The provider's token URL, for the permit.
 * @returns A function with the same `this`, arguments and result. It rejects with what `refresh` rejects with, or with
 *   `GW_VISIT_TIMEOUT` when this caller waited too long; the flight goes on.
 */
export function aroundRefresh<A extends unknown[], R>(
  telemetry: Telemetry,
  tokenUrl: string,
  refresh: (...parameters: A) => Promise<R>,
  options: AroundOptions<A>,
): (...parameters: A) => Promise<R> {
  const { provider, requests, deadlineMs } = { ...AROUND_DEFAULTS, ...options }
  const flights = new Map<string, Flight<R>>()
  const landed = new Map<string, Landed<R>>()

  function takeOff(
    profileId: string,
    facts: { caller: CallerSite; reason: RefreshReason },
    replaced: Fingerprint | undefined,
    run: () => Promise<R>,
  ): Flight<R> {
    const record = new FlightRecord(telemetry, { provider, profileId, ...facts })
    const permit = new Permit({ url: tokenUrl, lifetimeMs: PERMIT_LIFETIME_MS, uses: requests })
    record.event(EVENT_REQUEST_SENT)
    const work = carryPermit(permit, async () => run())
      .then(result => {
        if (replaced) remember(landed, profileId, { replaced, result })
        record.ended('rotated')
        return result
      })
      .catch(error => {
        if (permit.answered !== undefined) record.span.setAttribute(ATTR_HTTP_STATUS, permit.answered)
        record.span.setAttribute(ATTR_TOKEN_REQUESTS, permit.shown)
        record.ended(judgeFailure(permit.answered), errorType(error))
        throw error
      })
      .finally(() => {
        // A timer that was set inside still carries the permit; what it sends later was not let through.
        permit.close()
        flights.delete(profileId)
      })
    const flight = { work, record }
    flights.set(profileId, flight)
    return flight
  }

  return async function gated(this: unknown, ...parameters: A): Promise<R> {
    const caller = takeCallerSite(gated)
    const profileId = options.profile(...parameters)
    const reason = options.reason?.(...parameters) ?? 'unknown'
    const replacedToken = options.replaces?.(...parameters)
    hideText(replacedToken)
    const replaced = fingerprint(replacedToken)
    const visit = new VisitRecord(telemetry, { provider, profileId, caller, reason })
    if (replaced) visit.span.setAttribute(ATTR_REJECTED_FINGERPRINT, replaced)
    const last = landed.get(profileId)
    if (last && last.replaced === replaced) {
      visit.left('adopt')
      return last.result
    }
    const underWay = flights.get(profileId)
    const flight = underWay ?? takeOff(profileId, { caller, reason }, replaced, () => Reflect.apply(refresh, this, parameters))
    const decision = underWay ? 'join' : 'lead'
    visit.boards(flight.record, decision)
    try {
      const result = await waitFor(flight.work, deadlineMs)
      visit.left(decision)
      return result
    } catch (error) {
      visit.left(decision, { error })
      throw error
    }
  }
}

/** What the status alone tells; the foreign function has read the body. */
function judgeFailure(status: number | undefined): FlightOutcome {
  if (status === undefined) return 'unavailable'
  if (status === 400 || status === 401) return 'invalidated'
  if (status === 403) return 'forbidden'
  if (status === 429) return 'throttled'
  return status >= 500 ? 'unavailable' : 'malformed'
}

function remember<R>(landed: Map<string, Landed<R>>, profileId: string, flight: Landed<R>): void {
  if (landed.size >= MOST_REMEMBERED) landed.delete(landed.keys().next().value ?? '')
  landed.set(profileId, flight)
}
