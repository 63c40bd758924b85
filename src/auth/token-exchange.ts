import {
  ATTR_CLOCK_SKEW,
  ATTR_EXPIRES_IN_REPAIRED,
  ATTR_HTTP_STATUS,
  ATTR_NEXT,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_PROVIDER_REQUEST_ID,
  ATTR_REFRESH_FINGERPRINT_AFTER,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REFRESH_RETAINED,
  ATTR_REPLAY,
  ATTR_TOKEN_AGE,
  EVENT_ANSWER_RECEIVED,
  EVENT_PERSISTED,
  EVENT_PUBLISHED,
  EVENT_REPLAY,
  EVENT_REQUEST_SENT,
} from '../../otel/names.ts'
import type { FlightOutcome } from '../../otel/words.ts'
import { isOAuth, type NeedsLogin, type OAuthCredential, type StoredProfile } from '../domain/credential.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import { isPermanent } from '../domain/flight-outcome.ts'
import { errorType, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { Permit } from '../providers/permit.ts'
import type { GrantedAnswer, RefreshAnswer, RefusedRefresh, UnansweredRefresh } from '../providers/refresh-answer.ts'
import { secretText } from '../providers/secret-text.ts'
import { requestRefresh } from '../providers/token-endpoint.ts'
import { type FlightDeck, type FlightResult, needsLogin, unknownProfile } from './flight-deck.ts'
import type { FlightRecord } from './flight-record.ts'
import { holds, rotate, withRotation } from './rotation.ts'

type Update = (current: StoredProfile | undefined) => StoredProfile | undefined

/** One token request: what was sent for which profile, and what was known before. */
interface Exchange {
  readonly deck: FlightDeck
  readonly record: FlightRecord
  readonly profile: StoredProfile
  readonly credential: OAuthCredential
  /** The refresh token that is sent. */
  readonly sent: string
  /** An earlier process sent this very token and did not live to store the answer. */
  readonly interrupted: boolean
}

/**
 * Sends the refresh token and makes the answer last.
 *
 * The intent is written before the request goes out, the rotated token before anybody sees it. So after a crash the
 * store says which of the two happened.
 */
export async function exchangeRefreshToken(
  deck: FlightDeck,
  profile: StoredProfile,
  credential: OAuthCredential,
  record: FlightRecord,
): Promise<FlightResult> {
  const sent = credential.refresh
  // What a careless program made of a missing token (openclaw#82069 posted `refresh_token=undefined`) is never sent.
  if (sent === undefined || secretText(sent) === undefined) {
    return ground({ deck, record, profile, credential, sent: sent ?? '', interrupted: false }, 'malformed')
  }
  const exchange: Exchange = {
    deck,
    record,
    profile,
    credential,
    sent,
    interrupted: profile.pending?.refreshFingerprint === fingerprint(sent),
  }
  try {
    await declareIntent(exchange)
  } catch (error) {
    record.storeFailed('write', errorType(error))
    return { outcome: 'unavailable', error: cannotDeclare(deck, profile, error) }
  }
  const answer = await send(exchange)
  noteAnswer(exchange, answer)
  deck.onStep?.('answer_received')
  switch (answer.kind) {
    case 'granted':
      return accept(exchange, answer)
    case 'refused':
      return refused(exchange, answer)
    case 'unanswered':
      return unanswered(exchange, answer)
    default:
      return answer satisfies never
  }
}

/**
 * Writes that this token is about to be sent. When even that cannot be written, nothing is sent: the answer could not
 * be kept either, and a crash would lose the login. Where the disk already holds a dead token there is nothing to guard.
 */
async function declareIntent({ deck, profile, sent }: Exchange): Promise<void> {
  const refreshFingerprint = fingerprint(sent)
  if (!refreshFingerprint) return
  const pending = { refreshFingerprint, sentAt: deck.clock.now(), pid: process.pid }
  try {
    await deck.unwritten.write(profile.id, deck.store)
    await deck.store.change(profile.id, current => (current && holds(current, sent) ? { ...current, pending } : current))
  } catch (error) {
    if (!deck.unwritten.has(profile.id)) throw error
  }
}

async function send({ deck, record, profile, credential, sent }: Exchange): Promise<RefreshAnswer> {
  const provider = deck.registry.get(profile.provider)
  const now = deck.clock.now()
  record.span.setAttribute(ATTR_REFRESH_FINGERPRINT_BEFORE, fingerprint(sent) ?? '')
  if (credential.issuedAt !== undefined) {
    record.span.setAttribute(ATTR_TOKEN_AGE, Math.round((now - credential.issuedAt) / 1000))
    record.tokenAge(now - credential.issuedAt)
  }
  const { requestTimeoutMs } = deck.options
  const permit = new Permit({ url: provider.oauth?.tokenUrl ?? provider.baseUrl, lifetimeMs: requestTimeoutMs })
  record.event(EVENT_REQUEST_SENT)
  deck.onStep?.('request_sent')
  return requestRefresh({ provider, credential, permit, signal: AbortSignal.timeout(requestTimeoutMs), now })
}

function noteAnswer({ record }: Exchange, answer: RefreshAnswer): void {
  if (answer.status === undefined) return
  record.event(EVENT_ANSWER_RECEIVED, { [ATTR_HTTP_STATUS]: answer.status })
  record.span.setAttributes({
    [ATTR_HTTP_STATUS]: answer.status,
    ...(answer.requestId && { [ATTR_PROVIDER_REQUEST_ID]: answer.requestId }),
    ...(answer.skewMs !== undefined && { [ATTR_CLOCK_SKEW]: Math.round(answer.skewMs / 1000) }),
  })
}

async function accept(exchange: Exchange, answer: GrantedAnswer): Promise<FlightResult> {
  const { deck, record, profile, credential, sent } = exchange
  const rotation = rotate(credential, answer, deck.clock.now())
  if (rotation.outcome === 'identity_mismatch') return ground(exchange, 'identity_mismatch')
  record.span.setAttributes({
    [ATTR_REFRESH_RETAINED]: answer.refresh === undefined,
    [ATTR_REFRESH_FINGERPRINT_AFTER]: fingerprint(rotation.credential.refresh) ?? '',
    ...(answer.repaired && { [ATTR_EXPIRES_IN_REPAIRED]: answer.repaired }),
  })
  const update: Update = current => withRotation(current, sent, rotation.credential)
  try {
    const saved = await deck.store.change(profile.id, update)
    record.event(EVENT_PERSISTED)
    deck.onStep?.('persisted')
    return publish(exchange, saved, rotation.outcome, rotation.credential)
  } catch (error) {
    record.storeFailed('write', errorType(error))
    record.span.setAttribute(ATTR_NEXT, isGatewayError(error) ? error.next : 'nothing')
    deck.unwritten.hold(profile.id, update)
    return publish(exchange, deck.unwritten.over(profile.id, profile), 'not_persisted', rotation.credential)
  }
}

function publish(
  { deck, record, profile }: Exchange,
  saved: StoredProfile | undefined,
  outcome: FlightOutcome,
  ours: OAuthCredential,
): FlightResult {
  if (!saved) return { outcome: 'unavailable', error: unknownProfile(deck, profile.id) }
  record.event(EVENT_PUBLISHED)
  deck.onStep?.('published')
  // Somebody signed in while we were away: theirs stays, and serves.
  const isOurs = isOAuth(saved.credential) && saved.credential.access === ours.access
  return { outcome: isOurs ? outcome : 'reused', profile: saved }
}

async function refused(exchange: Exchange, { status, judgement }: RefusedRefresh): Promise<FlightResult> {
  const { record, profile, sent, interrupted } = exchange
  if (judgement.providerCode) record.span.setAttribute(ATTR_PROVIDER_ERROR_CODE, judgement.providerCode)
  const replayed = judgement.replayed === true || (profile.rotatedAway ?? []).includes(fingerprint(sent) ?? '')
  if (replayed) {
    record.span.setAttribute(ATTR_REPLAY, true)
    record.event(EVENT_REPLAY)
    record.replayed()
  }
  if (isPermanent(judgement.outcome)) {
    // The provider took the token from a process that died before it could store the answer.
    const lost = interrupted && (replayed || judgement.outcome === 'invalidated')
    return ground(exchange, lost ? 'lost' : judgement.outcome, judgement.providerCode)
  }
  // A server error may come from a proxy in front of a server that did rotate (502, 504).
  if (status < 500) await forgetIntent(exchange)
  return { outcome: judgement.outcome, error: transient(exchange, judgement.outcome, judgement.retryAfterMs) }
}

async function unanswered(exchange: Exchange, { outcome, maybeTaken, errorType: type, cause }: UnansweredRefresh): Promise<FlightResult> {
  if (!maybeTaken) await forgetIntent(exchange)
  return { outcome, error: transient(exchange, `${outcome}, ${type}`, undefined, cause) }
}

/** The provider certainly did not take the token, so a later failure is not the trace of a lost answer. */
async function forgetIntent({ deck, record, profile, sent, interrupted }: Exchange): Promise<void> {
  if (interrupted) return
  try {
    await deck.store.change(profile.id, current => {
      if (!current?.pending || !holds(current, sent)) return current
      const { pending: _pending, ...rest } = current
      return rest
    })
  } catch (error) {
    record.storeFailed('write', errorType(error))
  }
}

/** Remembers that the grant is dead, so that nobody asks the provider again until somebody signs in. */
async function ground(exchange: Exchange, outcome: FlightOutcome, providerCode?: string): Promise<FlightResult> {
  const { deck, record, profile, credential } = exchange
  const refreshFingerprint = fingerprint(credential.refresh)
  const dead: NeedsLogin = {
    outcome,
    since: deck.clock.now(),
    ...(refreshFingerprint && { refreshFingerprint }),
    ...(providerCode && { providerCode }),
  }
  const update: Update = current => {
    if (!current || !isOAuth(current.credential) || fingerprint(current.credential.refresh) !== refreshFingerprint) return current
    const { pending: _pending, ...rest } = current
    return { ...rest, needsLogin: dead }
  }
  record.span.setAttribute(ATTR_NEXT, 'sign_in_again')
  let saved: StoredProfile | undefined
  try {
    saved = await deck.store.change(profile.id, update)
  } catch (error) {
    record.storeFailed('write', errorType(error))
    deck.unwritten.hold(profile.id, update)
    saved = deck.unwritten.over(profile.id, profile)
  }
  if (saved && isOAuth(saved.credential) && fingerprint(saved.credential.refresh) !== refreshFingerprint)
    return { outcome: 'reused', profile: saved }
  return { outcome, error: outcome === 'lost' ? lostAnswer(exchange) : needsLogin(deck, profile, providerCode ?? outcome) }
}

function lostAnswer({ deck, profile }: Exchange): GatewayError {
  const { pid, sentAt } = profile.pending ?? { pid: 0, sentAt: 0 }
  return new GatewayError(
    'GW_NEEDS_LOGIN',
    `profile ${deck.nameOf(profile.id)} lost its login: process ${pid} sent the refresh token at ${new Date(sentAt).toISOString()} and ended before the answer was stored; the provider has taken the old token. Sign in again`,
    { next: 'sign_in_again' },
  )
}

function cannotDeclare({ nameOf }: FlightDeck, profile: StoredProfile, cause: unknown): GatewayError {
  const next = isGatewayError(cause) ? cause.next : 'try_again_later'
  return new GatewayError(
    'GW_REFRESH_FAILED',
    `profile ${nameOf(profile.id)} is not refreshed while its store cannot be written: the new token could be lost`,
    { next, cause },
  )
}

function transient({ deck, profile }: Exchange, what: string, retryAfterMs?: number, cause?: unknown): GatewayError {
  return new GatewayError(
    'GW_REFRESH_FAILED',
    `the refresh of profile ${deck.nameOf(profile.id)} failed for now (${what}); it is tried again`,
    {
      next: 'try_again_later',
      ...(cause !== undefined && { cause }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    },
  )
}
