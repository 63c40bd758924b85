import type { OAuthCredential } from '../domain/credential.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { configError, GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { carryPermit, type Permit } from '../providers/permit.ts'
import type { OAuthEndpoints, Provider } from '../providers/provider.ts'
import { isTokenUrlSafe } from '../providers/provider.ts'
import { secretText } from '../providers/token-fields.ts'
import { Upstream, UpstreamError } from '../providers/upstream.ts'
import { readGrantedAnswer } from './granted-answer.ts'
import { type HeadFacts, headFacts, judgeTokenAnswer, type TokenVerdict, unreadableVerdict } from './judge.ts'
import { type PostedAnswer, post, TRANSPORT } from './oauth-post.ts'
import type { RefreshAnswer, UnansweredRefresh } from './refresh-answer.ts'
import { type SentShape, sentShape } from './sent-shape.ts'

/** One token request, as the gate orders it. */
export interface RefreshRequest {
  readonly provider: Provider
  readonly credential: OAuthCredential
  /** Taken when everything else is in order, before anything is sent. */
  readonly permit: Permit
  /** Ends the waiting. The request may be taken all the same. */
  readonly signal: AbortSignal
  /** Our clock as the request is sent, epoch milliseconds. */
  readonly now: number
  /** Called with the shape of the request, a moment before it leaves. */
  readonly onSent?: (shape: SentShape) => void
  /**
   * Asked once the connection stands, right before the first byte is written, in the same synchronous run: the place to
   * make sure that this token may still be sent. @default it may
   */
  readonly mayLeave?: () => boolean
}

/**
 * Sends one refresh token to its token endpoint and says what came back.
 *
 * Always over a connection of its own: on one that is kept alive a reset could mean that the provider had closed it
 * before or that the answer was lost, and only the second one costs the grant. Follows no redirect.
 *
 * @throws {GatewayError} before anything is sent: `GW_CONFIG` (no OAuth, or a token URL without TLS that leaves the
 *   machine), `GW_NEEDS_LOGIN` (no refresh token), `GW_PERMIT` (the permit does not open this URL).
 * @see RFC 6749 section 6
 */
export async function requestRefresh(request: RefreshRequest): Promise<RefreshAnswer> {
  const { provider, credential, permit, signal, now, onSent } = request
  const oauth = usableEndpoints(provider)
  const refreshToken = secretText(credential.refresh)
  if (refreshToken === undefined) {
    throw new GatewayError('GW_NEEDS_LOGIN', `the credential for ${provider.id} holds no refresh token; sign in again`, {
      next: 'sign_in_again',
    })
  }
  if (!permit.take(oauth.tokenUrl)) {
    throw new GatewayError(
      'GW_PERMIT',
      `the permit for the token endpoint of ${provider.id} is spent, too old or for another URL; enter through the gate`,
      { next: 'nothing' },
    )
  }
  const { encoding, clientId, clientSecret } = oauth
  const body = new URLSearchParams({ refresh_token: refreshToken, grant_type: 'refresh_token', client_id: clientId })
  if (clientSecret !== undefined) body.set('client_secret', clientSecret)
  const headers = { 'user-agent': userAgentOf(provider), ...oauth.headers, accept: 'application/json' }
  const upstream = new Upstream(TRANSPORT)
  const startedAt = performance.now()
  let answer: PostedAnswer
  let isHeldBack = false
  const mayLeave = () => {
    isHeldBack = request.mayLeave?.() === false
    return !isHeldBack
  }
  try {
    onSent?.(sentShape(body, encoding))
    answer = await carryPermit(permit, () => post(upstream, { url: oauth.tokenUrl, body, headers, encoding, signal, mayLeave }))
  } catch (error) {
    return isHeldBack ? { kind: 'held_back' } : unanswered(error)
  } finally {
    await upstream.close()
  }
  const answeredAt = Math.round(now + performance.now() - startedAt)
  return judge(answer, { provider, now: answeredAt, sent: fingerprint(refreshToken) })
}

function usableEndpoints(provider: Provider): OAuthEndpoints {
  if (!provider.oauth) {
    throw configError(`provider ${provider.id} has no token endpoint; set providers.${provider.id}.tokenUrl and clientId`)
  }
  if (!isTokenUrlSafe(provider.oauth.tokenUrl)) {
    throw configError(`providers.${provider.id}.tokenUrl must begin with https:// (http:// is allowed on loopback only)`)
  }
  return provider.oauth
}

interface JudgeContext {
  readonly provider: Provider
  /** Our clock as the answer came, epoch milliseconds. */
  readonly now: number
  /** Fingerprint of the refresh token that was sent. */
  readonly sent: Fingerprint | undefined
}

function judge({ status, headers, bytes, cut }: PostedAnswer, context: JudgeContext): RefreshAnswer {
  const facts = headFacts(status, headers, context.now)
  const { provider, sent } = context
  const verdict = judgeTokenAnswer({ status, headers, body: bytes, isWhole: !cut }, { sent, judgeRefresh: provider.judgeRefresh })
  if (verdict.outcome === 'unreadable') return unreadableAnswer(verdict, facts)
  if (!verdict.fields) return { kind: 'refused', ...facts, verdict }
  const granted = readGrantedAnswer(verdict.fields, facts, { provider, now: context.now + (facts.skewMs ?? 0) })
  return typeof granted === 'string' ? unreadableAnswer(unreadableVerdict(granted), facts) : granted
}

function unreadableAnswer({ outcome, errorType = outcome }: TokenVerdict, facts: HeadFacts): UnansweredRefresh {
  return { kind: 'unanswered', ...facts, outcome, maybeTaken: true, errorType, cause: undefined }
}

function unanswered(error: unknown): UnansweredRefresh {
  if (!(error instanceof UpstreamError)) throw error
  // Refused on its way out by the watch over token requests: nothing left, and it is our own error.
  if (isGatewayError(error.cause, 'GW_PERMIT')) throw error.cause
  const { outcome, errorType = outcome } = judgeTokenAnswer({ error })
  return { kind: 'unanswered', outcome, maybeTaken: error.sent, errorType, cause: error }
}

/** What a token request of ours calls itself, unless the provider insists on another name. */
export function userAgentOf({ oauth }: Provider): string {
  return oauth?.headers?.['user-agent'] ?? 'gatewatch'
}
