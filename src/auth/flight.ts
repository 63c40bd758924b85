import {
  ATTR_CREDENTIAL_EXPIRES_IN,
  ATTR_CREDENTIAL_GENERATION,
  ATTR_HAS_ACCESS,
  ATTR_HAS_REFRESH,
  ATTR_LEASE_HOLDER,
  ATTR_LEASE_TAKEN_FROM,
  ATTR_LEASE_WAIT,
  ATTR_PENDING_AGE,
  ATTR_PENDING_PROCESS,
  EVENT_CREDENTIAL_RELOADED,
  EVENT_LEASE_HELD,
  EVENT_LEASE_LOST,
  EVENT_LEASE_REQUESTED,
} from '../../otel/names.ts'
import { FLIGHT_OUTCOMES, type FlightOutcome } from '../../otel/words.ts'
import { isOAuth, type NeedsLogin, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { isPermanent } from '../domain/flight-outcome.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Lease } from '../store/profile-store.ts'
import { deadGrant, type FlightDeck, type FlightResult, needsLogin, unknownProfile } from './flight-deck.ts'
import type { FlightRecord } from './flight-record.ts'
import { exchangeRefreshToken } from './token-exchange.ts'
import { judgeVisit, type Visit } from './visit.ts'

/**
 * Flies: lease, reload, ask again, token request, persist, publish. Never rejects; every end is an outcome.
 *
 * Whatever kills it, the store tells the next flight how far it came: nothing was sent, something was sent and not
 * answered (`pending`), or the rotated token is there.
 */
export async function fly(deck: FlightDeck, visit: Visit, record: FlightRecord): Promise<FlightResult> {
  let lease: Lease
  try {
    record.event(EVENT_LEASE_REQUESTED)
    lease = await deck.store.lease(visit.profileId, { waitMs: deck.options.leaseWaitMs })
  } catch (error) {
    record.storeFailed('lease', errorType(error))
    if (isGatewayError(error) && error.heldBy !== undefined) record.span.setAttribute(ATTR_LEASE_HOLDER, String(error.heldBy))
    return { outcome: isGatewayError(error, 'GW_LEASE_TIMEOUT') ? 'contention' : 'unavailable', error: asGatewayError(error) }
  }
  const onLost = () => {
    record.event(EVENT_LEASE_LOST)
    record.leaseLost()
  }
  lease.lost.addEventListener('abort', onLost)
  try {
    noteLease(lease, record)
    deck.onStep?.('lease_held')
    return await underLease(deck, visit, lease, record)
  } catch (error) {
    return { outcome: 'unavailable', error: asGatewayError(error) }
  } finally {
    // A store that closes later must not count this flight's lease as lost.
    lease.lost.removeEventListener('abort', onLost)
    giveBack(lease)
  }
}

/** Releases a lease in the background: the callers need not wait until the lease table can be written. */
function giveBack(lease: Lease): void {
  const release = async () => lease.release()
  // By contract it never rejects; a store of the application's own may.
  release().catch(() => undefined)
}

function noteLease(lease: Lease, record: FlightRecord): void {
  const takenFrom = lease.takenFrom === undefined ? {} : { [ATTR_LEASE_TAKEN_FROM]: String(lease.takenFrom) }
  record.event(EVENT_LEASE_HELD, { [ATTR_LEASE_WAIT]: lease.waitedMs / 1000, ...takenFrom })
  record.leaseHeld(lease.waitedMs)
}

async function underLease(deck: FlightDeck, visit: Visit, lease: Lease, record: FlightRecord): Promise<FlightResult> {
  const { unwritten, clock, options } = deck
  const profile = unwritten.over(visit.profileId, await reload(deck, visit.profileId, record))
  if (!profile || !isOAuth(profile.credential)) return { outcome: 'malformed', error: unknownProfile(deck, visit.profileId) }
  noteReload(profile, profile.credential, clock.now(), record)
  const verdict = judgeVisit(profile.credential, visit, { now: clock.now(), earlyMs: options.earlyMs, forced: options.forced })
  if (verdict !== 'fly') return { outcome: 'reused', profile }
  const dead = deadGrant(profile)
  if (dead && visit.reason !== 'operator') return { outcome: laterOutcome(dead), error: needsLogin(deck, profile, dead.outcome) }
  const result = await exchangeRefreshToken({ deck, record, profile, credential: profile.credential, leaseLost: lease.lost })
  return result === 'overtaken' ? underLease(deck, visit, lease, record) : result
}

async function reload({ store }: FlightDeck, profileId: string, record: FlightRecord): Promise<StoredProfile | undefined> {
  try {
    return await store.reload(profileId)
  } catch (error) {
    record.storeFailed('read', errorType(error))
    throw error
  }
}

/**
 * The outcome of a flight that finds the grant dead already. A lost answer is told once, by the flight that found it out:
 * those who come later would count it again.
 */
function laterOutcome({ outcome }: NeedsLogin): FlightOutcome {
  const known = FLIGHT_OUTCOMES.find(word => word === outcome)
  return known === undefined || known === 'lost' || !isPermanent(known) ? 'invalidated' : known
}

function noteReload({ pending }: StoredProfile, credential: OAuthCredential, now: number, record: FlightRecord): void {
  // Somebody sent the token that is there now, and what came back is not there: he died, or he never heard the answer.
  const isUnheard = pending !== undefined && pending.refreshFingerprint === fingerprint(credential.refresh)
  record.event(EVENT_CREDENTIAL_RELOADED, {
    [ATTR_CREDENTIAL_GENERATION]: credential.generation,
    [ATTR_HAS_ACCESS]: Boolean(credential.access),
    [ATTR_HAS_REFRESH]: Boolean(credential.refresh),
    ...(credential.expiresAt !== undefined && { [ATTR_CREDENTIAL_EXPIRES_IN]: Math.round((credential.expiresAt - now) / 1000) }),
    ...(isUnheard && { [ATTR_PENDING_PROCESS]: String(pending.pid), [ATTR_PENDING_AGE]: Math.round((now - pending.sentAt) / 1000) }),
  })
}

function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('GW_REFRESH_FAILED', `the refresh failed in Gatewatch itself (${errorType(error)}); please report it`, {
    next: 'try_again_later',
    cause: error,
  })
}
