import { setTimeout as sleep } from 'node:timers/promises'
import { isOAuth, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import type { Lease } from '../store/profile-store.ts'
import { type AcquireRequest, judgeAcquire } from './acquire.ts'
import { transient } from './exchange-error.ts'
import { deadGrant, type FailedRefresh, needsLogin, type RefreshContext, type RefreshResult, unknownProfile } from './refresh-context.ts'
import { type AskAgain, runRefreshProtocol } from './refresh-protocol.ts'
import type { RefreshRecord } from './refresh-record.ts'
import { holds } from './rotation.ts'

/** What a refresh is given, and what it reports to. */
interface RefreshPlan {
  readonly context: RefreshContext
  readonly acquisition: AcquireRequest
  readonly record: RefreshRecord
  /** Aborts when nothing more is waited for: the process ends. */
  readonly ending: AbortSignal
  /** Called when its acquisitions need not wait any longer and the refresh goes on. */
  readonly letGo: (result: FailedRefresh) => void
  /** Called once with how it ended, before its lease is given back. */
  readonly ended: (result: RefreshResult) => void
}

/** How often a refresh asks for a lease that it lost before anything was sent. */
const MOST_ROUNDS = 5
/** How often it looks whether the process that sent the token has stored the answer. */
const LOOK_EVERY_MS = 250

/**
 * Runs one refresh: lease, reload, ask again, token request, persist, publish. Never rejects; every end is an outcome.
 *
 * Whatever kills it, the store says to the next refresh how far it came: nothing was sent, something was sent and not
 * answered (`pending`), or the rotated token is there.
 *
 * @returns when the lease is given back, later than `ended`.
 */
export async function runRefresh(plan: RefreshPlan): Promise<void> {
  try {
    await inRounds(plan)
  } catch (error) {
    plan.ended({ outcome: 'unavailable', error: asGatewayError(error) })
  }
}

async function inRounds(plan: RefreshPlan): Promise<void> {
  const { context, record } = plan
  const until = context.clock.monotonic() + context.options.leaseWaitMs
  let again: AskAgain | undefined
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    const lease = await leaseFor(plan, Math.max(0, until - context.clock.monotonic()))
    if ('error' in lease) return plan.ended(lease)
    const onLost = () => record.step('lease_lost')
    lease.lost.addEventListener('abort', onLost)
    try {
      const end = await holding(plan, lease, again)
      if (!('again' in end)) return plan.ended(end)
      again = end
    } finally {
      // A store that closes later must not count this refresh's lease as lost.
      lease.lost.removeEventListener('abort', onLost)
      await giveBack(lease, record)
    }
  }
  plan.ended(await (again?.unlessNewer?.settle() ?? contention(plan, 'the lease was lost again and again before anything was sent')))
}

async function leaseFor(plan: RefreshPlan, waitMs: number): Promise<Lease | FailedRefresh> {
  const { context, acquisition, record, ending, letGo } = plan
  const { requestTimeoutMs } = context.options
  // The holder may be listening for a slow answer: acquisitions here wait for that no longer than acquisitions there.
  const patience =
    waitMs > requestTimeoutMs ? setTimeout(() => letGo(contention(plan, 'another process has the lease')), requestTimeoutMs) : undefined
  try {
    record.step('lease_requested')
    return await context.store.lease(acquisition.profileId, { waitMs, signal: ending })
  } catch (error) {
    if (ending.aborted) return { outcome: 'cancelled', error: closing(error) }
    record.storeFailed('lease', error)
    if (isGatewayError(error) && error.heldBy !== undefined) record.set({ leaseHolder: String(error.heldBy) })
    return { outcome: isGatewayError(error, 'GW_LEASE_TIMEOUT') ? 'contention' : 'unavailable', error: asGatewayError(error) }
  } finally {
    clearTimeout(patience)
  }
}

async function holding(plan: RefreshPlan, lease: Lease, again: AskAgain | undefined): Promise<RefreshResult | AskAgain> {
  try {
    const { waitedMs, takenFrom } = lease
    plan.record.step('lease_held', { leaseWaitS: waitedMs / 1000, leaseTakenFrom: takenFrom === undefined ? undefined : String(takenFrom) })
    plan.context.onStep?.('lease_held')
    return await underLease(plan, lease, again)
  } catch (error) {
    return { outcome: 'unavailable', error: asGatewayError(error) }
  }
}

/** A lease that cannot be given back ends by itself; it must not take the refresh's result with it. */
async function giveBack(lease: Lease, record: RefreshRecord): Promise<void> {
  try {
    await lease.release()
  } catch (error) {
    record.storeFailed('lease', error)
  }
}

async function underLease(plan: RefreshPlan, lease: Lease, again: AskAgain | undefined): Promise<RefreshResult | AskAgain> {
  const { context, acquisition, record } = plan
  const { pendingWrites, clock, options } = context
  const profile = pendingWrites.over(acquisition.profileId, await reload(context, acquisition.profileId, record))
  if (!profile || !isOAuth(profile.credential)) return { outcome: 'malformed', error: unknownProfile(context, acquisition.profileId) }
  noteReload(profile, profile.credential, clock.now(), record)
  if (again?.unlessNewer && holds(profile, again.unlessNewer.sent)) return again.unlessNewer.settle()
  const verdict = judgeAcquire(profile.credential, acquisition, { now: clock.now(), earlyMs: options.earlyMs, forced: options.forced })
  if (verdict !== 'refresh') return { outcome: 'reused', profile }
  const dead = deadGrant(profile)
  if (dead && acquisition.reason !== 'operator') return { outcome: 'needs_login', error: needsLogin(context, profile, dead.outcome) }
  if (isAnswerAwaited(profile, lease, context)) {
    await answerOfSender(plan, profile, lease)
    if (plan.ending.aborted) return { outcome: 'cancelled', error: closing(plan.ending.reason) }
    return underLease(plan, lease, again)
  }
  const { ending, letGo } = plan
  const result = await runRefreshProtocol({ context, record, profile, credential: profile.credential, lease, ending, letGo })
  return result === 'overtaken' ? underLease(plan, lease, again) : result
}

/**
 * Says whether this very token is under way in a process that was stopped after it had sent it, and may go on: it alone
 * will hear the answer, and the process that sends the token now sends it a second time.
 */
function isAnswerAwaited({ pending, credential }: StoredProfile, lease: Lease, { clock, options }: RefreshContext): boolean {
  if (!pending || !isOAuth(credential) || pending.refreshFingerprint !== fingerprint(credential.refresh)) return false
  return pending.pid === lease.takenFrom && clock.now() - pending.sentAt < options.listenMs && lease.mayGoOn()
}

/** Waits until that process has stored something, is dead, or would not listen any longer itself. */
async function answerOfSender(plan: RefreshPlan, profile: StoredProfile, lease: Lease): Promise<void> {
  const { context, record, ending, letGo } = plan
  record.step('sender_awaited', { pendingProcess: String(profile.pending?.pid) })
  const patience = setTimeout(() => letGo(contention(plan, SENDER_STOPPED)), context.options.requestTimeoutMs)
  try {
    while (!ending.aborted && !lease.lost.aborted && isAnswerAwaited(profile, lease, context)) {
      await sleep(LOOK_EVERY_MS, undefined, { signal: ending }).catch(() => undefined)
      const current = await context.store.read(profile.id)
      if (current?.pending?.sentAt !== profile.pending?.sentAt || current?.pending?.pid !== profile.pending?.pid) return
    }
  } finally {
    clearTimeout(patience)
  }
}

const SENDER_STOPPED = 'a process that was stopped has sent the refresh token; what it is answered is waited for'

function contention({ context, acquisition }: RefreshPlan, what: string): FailedRefresh {
  return { outcome: 'contention', error: transient({ context, profile: { id: acquisition.profileId } }, 'contention', { what }) }
}

async function reload({ store }: RefreshContext, profileId: string, record: RefreshRecord): Promise<StoredProfile | undefined> {
  try {
    return await store.reload(profileId)
  } catch (error) {
    record.storeFailed('read', error)
    throw error
  }
}

function noteReload({ pending }: StoredProfile, credential: OAuthCredential, now: number, record: RefreshRecord): void {
  // A caller sent the token that is there now, and what came back is not there: he died, or he never heard the answer.
  const isUnheard = pending !== undefined && pending.refreshFingerprint === fingerprint(credential.refresh)
  record.step('credential_reloaded', {
    generation: credential.generation,
    hasAccess: Boolean(credential.access),
    hasRefresh: Boolean(credential.refresh),
    credentialExpiresInS: credential.expiresAt === undefined ? undefined : Math.round((credential.expiresAt - now) / 1000),
    ...(isUnheard && { pendingProcess: String(pending.pid), pendingAgeS: Math.round((now - pending.sentAt) / 1000) }),
  })
}

/** The error for a refresh that is ended with its process; a caller who left has another one. */
function closing(cause: unknown): GatewayError {
  return new GatewayError('GW_CLOSED', 'the process ends; the refresh was not made', { next: 'nothing', cause })
}

function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('GW_REFRESH_FAILED', `the refresh failed in Gatewatch itself (${errorType(error)}); please report it`, {
    next: 'try_again_later',
    cause: error,
  })
}
