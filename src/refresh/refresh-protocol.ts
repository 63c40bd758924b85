import { isOAuth, type NeedsLogin, type OAuthCredential, type PendingRefresh, type StoredProfile } from '../domain/credential.ts'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { isPermanent } from '../domain/token-request-outcome.ts'
import { Permit } from '../providers/permit.ts'
import type { Provider } from '../providers/provider.ts'
import { secretText } from '../providers/token-fields.ts'
import type { Lease } from '../store/profile-store.ts'
import type { GrantedAnswer, RefreshAnswer, RefusedRefresh, UnansweredRefresh } from '../token-requests/refresh-answer.ts'
import type { SentShape } from '../token-requests/sent-shape.ts'
import { requestRefresh, userAgentOf } from '../token-requests/token-endpoint.ts'
import { cannotDeclare, clientRefused, lostAnswer, transient } from './exchange-error.ts'
import { type FailedRefresh, needsLogin, type RefreshContext, type RefreshResult, unknownProfile } from './refresh-context.ts'
import type { RefreshRecord } from './refresh-record.ts'
import { holds, rotate, withRotation } from './rotation.ts'

type Update = (current: StoredProfile | undefined) => StoredProfile | undefined

/** What a token request is made of. */
interface ExchangeOptions {
  readonly context: RefreshContext
  readonly record: RefreshRecord
  /** The profile as it was reloaded under the lease, with its credential. */
  readonly profile: StoredProfile
  readonly credential: OAuthCredential
  readonly lease: Pick<Lease, 'lost' | 'confirm'>
  /** Aborts when the answer is not waited for any longer: the process ends. */
  readonly ending: AbortSignal
  /** Called when the acquisitions need not wait any longer for the answer, which is listened for all the same. */
  readonly letGo: (result: FailedRefresh) => void
}

/** One token request: what was sent for which profile, and what was known before. */
interface Exchange extends ExchangeOptions {
  /** The refresh token that is sent. */
  readonly sent: string
  /** What the store says while it is under way. */
  readonly pending: PendingRefresh
  /** This very token was sent before, and no answer was stored: its process died, or the answer never came. */
  readonly interrupted: boolean
}

/** The lease is not held any more, or may not be: what was read under it is old. To be leased, reloaded and judged again. */
export interface AskAgain {
  readonly again: true
  /** What it comes to where the store then still holds the token that was sent: it was refused. Absent where nothing was sent. */
  readonly unlessNewer?: { readonly sent: string; readonly settle: () => Promise<RefreshResult> }
}

/**
 * Sends the refresh token and makes the answer last.
 *
 * The intent is written before the request goes out, the rotated token before anybody sees it. So after a crash the
 * store says which of the two happened.
 *
 * @returns `overtaken` when another process stored another token since the profile was reloaded: nothing was sent, reload again.
 * @throws {GatewayError} `GW_CONFIG`, `GW_PERMIT` before anything is sent.
 */
export async function runRefreshProtocol(options: ExchangeOptions): Promise<RefreshResult | 'overtaken' | AskAgain> {
  const { context, record, profile, credential, lease } = options
  const sent = credential.refresh
  const pending = { refreshFingerprint: fingerprint(sent) ?? '', sentAt: context.clock.now(), pid: process.pid }
  // What a careless program made of a missing token (openclaw#82069 posted `refresh_token=undefined`) is never sent.
  if (sent === undefined || secretText(sent) === undefined) {
    return ground({ ...options, sent: sent ?? '', pending, interrupted: false }, 'malformed')
  }
  const interrupted = profile.pending?.refreshFingerprint === pending.refreshFingerprint
  const exchange: Exchange = { ...options, sent, pending, interrupted }
  const provider = context.registry.get(profile.provider)
  try {
    if (!(await declareIntent(exchange))) return 'overtaken'
  } catch (error) {
    record.storeFailed('write', error)
    return { outcome: 'unavailable', error: cannotDeclare(context, profile, error) }
  }
  // The process that has the lease now may be sending this very token.
  if (lease.lost.aborted) return heldBack(exchange)
  const answer = await send(exchange, provider)
  noteAnswer(exchange, answer)
  context.onStep?.('answer_received')
  switch (answer.kind) {
    case 'granted':
      return accept(exchange, answer)
    case 'refused':
      return refused(exchange, answer)
    case 'unanswered':
      return unanswered(exchange, answer)
    case 'held_back':
      return heldBack(exchange)
    default:
      return answer satisfies never
  }
}

/**
 * Writes that this token is about to be sent. When even that cannot be written, nothing is sent: the answer could not
 * be kept either, and a crash would lose the login. Where the disk already holds a dead token there is nothing to guard.
 *
 * @returns false when the store holds another token by now: sending ours would be a replay.
 */
async function declareIntent({ context, profile, sent, pending }: Exchange): Promise<boolean> {
  try {
    await context.pendingWrites.write(profile.id, context.store)
    const stored = await context.store.change(profile.id, current => (current && holds(current, sent) ? { ...current, pending } : current))
    return stored !== undefined && holds(stored, sent)
  } catch (error) {
    if (!context.pendingWrites.has(profile.id)) throw error
    return true
  }
}

async function send(exchange: Exchange, provider: Provider): Promise<RefreshAnswer> {
  const { context, record, credential, sent, ending } = exchange
  const now = context.clock.now()
  record.set({
    refreshFingerprintBefore: fingerprint(sent),
    requestUserAgentFingerprint: fingerprint(userAgentOf(provider)),
    tokenAgeS: credential.issuedAt === undefined ? undefined : Math.round((now - credential.issuedAt) / 1000),
  })
  const { requestTimeoutMs, listenMs } = context.options
  const permit = new Permit({ url: provider.oauth?.tokenUrl ?? provider.baseUrl, lifetimeMs: requestTimeoutMs })
  // A refresh that listens no longer than its acquisitions wait ends for all of them at once.
  const patience = listenMs > requestTimeoutMs ? setTimeout(() => letGo(exchange), requestTimeoutMs) : undefined
  try {
    const signal = AbortSignal.any([AbortSignal.timeout(listenMs), ending])
    const onSent = ({ encoding, fields }: SentShape) => record.set({ requestEncoding: encoding, requestFields: fields })
    return await requestRefresh({ provider, credential, permit, signal, now, onSent, mayLeave: () => mayLeave(exchange) })
  } catch (error) {
    // Refused on our own side before anything left: the next refresh must not take it for a lost answer.
    if (isGatewayError(error)) await forgetIntent(exchange)
    throw error
  } finally {
    clearTimeout(patience)
  }
}

/**
 * The last question before the token leaves, in the same synchronous run as the write to the socket: a process that was
 * stopped or suspended anywhere before this line wakes up here, and does not send what another one has rotated since.
 */
function mayLeave({ context, record, lease }: Exchange): boolean {
  context.onStep?.('request_sent')
  const isHeld = lease.confirm()
  record.step(isHeld ? 'request_sent' : 'held_back')
  return isHeld
}

function letGo(exchange: Exchange): void {
  const seconds = exchange.context.options.requestTimeoutMs / 1000
  const what = `no answer within ${seconds} s; it is listened for on`
  exchange.letGo({ outcome: 'timeout', error: transient(exchange, 'timeout', { what }) })
}

/** Nothing was sent, and what was read is old: the token may have been rotated meanwhile. */
async function heldBack(exchange: Exchange): Promise<AskAgain> {
  await forgetIntent(exchange)
  return { again: true }
}

function noteAnswer({ record }: Exchange, answer: RefreshAnswer): void {
  if (answer.status === undefined) return
  const { status, requestId, skewMs } = answer
  record.step('answer_received', { httpStatus: status })
  record.set({ httpStatus: status, providerRequestId: requestId, clockSkewS: skewMs === undefined ? undefined : Math.round(skewMs / 1000) })
}

async function accept(exchange: Exchange, answer: GrantedAnswer): Promise<RefreshResult> {
  const { context, record, profile, credential, sent } = exchange
  const rotation = rotate(credential, answer, context.clock.now())
  if (rotation.outcome === 'identity_mismatch') {
    record.set({ accountBefore: fingerprint(credential.account), accountAfter: fingerprint(answer.account) })
    return ground(exchange, 'identity_mismatch')
  }
  record.set({
    refreshTokenRetained: answer.refresh === undefined,
    refreshFingerprintAfter: fingerprint(rotation.credential.refresh),
    expiresInRepaired: answer.repaired,
  })
  const update: Update = current => withRotation(current, sent, rotation.credential)
  try {
    const saved = await context.store.change(profile.id, update)
    record.step('persisted')
    context.onStep?.('persisted')
    return publish(exchange, saved, rotation.outcome, rotation.credential)
  } catch (error) {
    record.storeFailed('write', error)
    record.set({ next: isGatewayError(error) ? error.next : 'nothing' })
    context.pendingWrites.holdToken(profile.id, update)
    return publish(exchange, context.pendingWrites.over(profile.id, profile), 'not_persisted', rotation.credential)
  }
}

function publish(
  { context, record, profile }: Exchange,
  saved: StoredProfile | undefined,
  outcome: TokenRequestOutcome,
  ours: OAuthCredential,
): RefreshResult {
  if (!saved) return { outcome: 'unavailable', error: unknownProfile(context, profile.id) }
  record.step('published')
  context.onStep?.('published')
  // A user signed in while we were away: theirs stays, and serves.
  const isOurs = isOAuth(saved.credential) && saved.credential.access === ours.access
  return { outcome: isOurs ? outcome : 'reused', profile: saved }
}

async function refused(exchange: Exchange, { status, verdict: judgement, contentType }: RefusedRefresh): Promise<RefreshResult | AskAgain> {
  const { record, profile, sent, interrupted, lease } = exchange
  record.set({
    providerErrorCode: judgement.providerCode,
    answerType: contentType,
    retryAfterS: judgement.retryAfterMs === undefined ? undefined : Math.ceil(judgement.retryAfterMs / 1000),
  })
  const replayed = judgement.replayed === true || (profile.rotatedAway ?? []).includes(fingerprint(sent) ?? '')
  if (replayed) record.replays()
  if (isPermanent(judgement.outcome)) {
    // The provider took the token the first time; what it gave for it is gone.
    const lost = interrupted && (replayed || judgement.outcome === 'invalidated')
    const settle = () => ground(exchange, lost ? 'lost' : judgement.outcome, judgement.providerCode)
    // Without the lease the refusal may be the answer to a replay: the process that has it now may be storing the newer token.
    return lease.confirm() ? settle() : { again: true, unlessNewer: { sent, settle } }
  }
  // A server error may come from a proxy in front of a server that did rotate (502, 504).
  if (status < 500) await forgetIntent(exchange)
  if (judgement.outcome === 'refused') {
    record.set({ next: 'check_client_credentials' })
    return { outcome: 'refused', error: clientRefused(exchange, judgement) }
  }
  return { outcome: judgement.outcome, error: transient(exchange, judgement.outcome, { retryAfterMs: judgement.retryAfterMs }) }
}

async function unanswered(exchange: Exchange, { outcome, maybeTaken, errorType: type, cause }: UnansweredRefresh): Promise<RefreshResult> {
  if (!maybeTaken) await forgetIntent(exchange)
  return { outcome, errorType: type, error: transient(exchange, outcome, { what: `${outcome}, ${type}`, cause }) }
}

/**
 * Takes the intent back: the provider certainly did not take the token, so a later failure is not the trace of a lost
 * answer. An earlier request of the same token may be; what the store said of that one stands again.
 */
async function forgetIntent({ context, record, profile, sent, pending, interrupted }: Exchange): Promise<void> {
  try {
    await context.store.change(profile.id, current => {
      if (!current || !holds(current, sent)) return current
      // The process that has the lease by now may have declared one of its own.
      if (current.pending?.sentAt !== pending.sentAt || current.pending.pid !== pending.pid) return current
      const { pending: _pending, ...rest } = current
      return interrupted && profile.pending ? { ...rest, pending: profile.pending } : rest
    })
  } catch (error) {
    record.storeFailed('write', error)
  }
}

/** Remembers that the grant is dead, so that no caller asks the provider again until a user signs in. */
async function ground(exchange: Exchange, outcome: TokenRequestOutcome, providerCode?: string): Promise<RefreshResult> {
  const { context, record, profile, credential } = exchange
  const refreshFingerprint = fingerprint(credential.refresh)
  const dead: NeedsLogin = {
    outcome,
    since: context.clock.now(),
    ...(refreshFingerprint && { refreshFingerprint }),
    ...(providerCode && { providerCode }),
  }
  const update: Update = current => {
    if (!current || !isOAuth(current.credential) || fingerprint(current.credential.refresh) !== refreshFingerprint) return current
    const { pending: _pending, ...rest } = current
    return { ...rest, needsLogin: dead }
  }
  record.set({ next: 'sign_in_again' })
  let saved: StoredProfile | undefined
  try {
    saved = await context.store.change(profile.id, update)
  } catch (error) {
    record.storeFailed('write', error)
    context.pendingWrites.hold(profile.id, update)
    saved = context.pendingWrites.over(profile.id, profile)
  }
  if (saved && isOAuth(saved.credential) && fingerprint(saved.credential.refresh) !== refreshFingerprint)
    return { outcome: 'reused', profile: saved }
  return { outcome, error: outcome === 'lost' ? lostAnswer(exchange) : needsLogin(context, profile, providerCode ?? outcome) }
}
