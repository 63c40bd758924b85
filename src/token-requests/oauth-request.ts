import {
  type AuthorizationServer,
  allowInsecureRequests,
  type Client,
  type ClientAuth,
  ClientSecretPost,
  customFetch,
  None,
} from 'oauth4webapi'
import type { TokenRequestOutcome } from '../domain/enums.ts'
import { configError, isGatewayError } from '../domain/gateway-error.ts'
import { carryPermit, type Permit } from '../providers/permit.ts'
import type { OAuthEndpoints, Provider } from '../providers/provider.ts'
import { isTokenUrlSafe } from '../providers/provider.ts'
import { Upstream, UpstreamError } from '../providers/upstream.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { type HeadFacts, headFacts, judgeTokenAnswer, type TokenVerdict, unreadableVerdict } from './judge.ts'
import { type PostedAnswer, post, TRANSPORT } from './oauth-post.ts'
import { type SentShape, sentShape } from './sent-shape.ts'

/** A provider as oauth4webapi has to know it. */
export interface OAuthParty {
  readonly provider: Provider
  readonly oauth: OAuthEndpoints
  readonly server: AuthorizationServer
  readonly client: Client
  readonly authentication: ClientAuth
}

/** An answer of an OAuth endpoint, read whole; it may hold tokens. */
interface AnsweredRequest extends HeadFacts {
  readonly kind: 'answered'
  readonly shape: SentShape
  /** Its fields, where the body is JSON or a form; and whether there are tokens among them. */
  readonly verdict: TokenVerdict
}

/** The endpoint said no. */
export interface RefusedRequest extends HeadFacts {
  readonly kind: 'refused'
  readonly shape: SentShape
  readonly verdict: TokenVerdict
}

/** Nothing that could be understood came back. */
export interface UnansweredRequest {
  readonly kind: 'unanswered'
  readonly shape?: SentShape
  readonly outcome: TokenRequestOutcome
  readonly errorType: string
  readonly cause: unknown
}

export type OAuthAnswer = AnsweredRequest | RefusedRequest | UnansweredRequest

/** What a request of oauth4webapi is given so that it goes our way. */
interface OAuthRequestOptions {
  readonly signal: AbortSignal
  readonly headers: Headers
  readonly [allowInsecureRequests]: true
  readonly [customFetch]: (url: string, options: { body?: unknown; headers: Record<string, string> }) => Promise<Response>
}

export interface AskOptions {
  readonly party: OAuthParty
  /** Body of the request. @default as the provider's token requests */
  readonly encoding?: OAuthEndpoints['encoding']
  /** Shown by the request where it goes to a token endpoint. */
  readonly permit: Permit
  /** Ends the waiting; an abort that is no time-out counts as `cancelled`. */
  readonly signal: AbortSignal
  /** Our clock as the request is sent, epoch milliseconds. */
  readonly now: number
}

/** @throws {GatewayError} `GW_CONFIG` when the provider has no OAuth. */
export function oauthParty(provider: Provider): OAuthParty {
  const { oauth } = provider
  if (!oauth) {
    throw configError(`no user can sign in at ${provider.id}: set providers.${provider.id}.tokenUrl and clientId`)
  }
  const { login } = oauth
  const optional = {
    authorization_endpoint: login?.authorizationUrl,
    device_authorization_endpoint: login?.deviceUrl,
    revocation_endpoint: login?.revocationUrl,
  }
  registerSecret(oauth.clientSecret)
  return {
    provider,
    oauth,
    server: {
      issuer: login?.issuer ?? new URL(login?.authorizationUrl ?? oauth.tokenUrl).origin,
      token_endpoint: oauth.tokenUrl,
      // Which of them it is does not matter: id tokens come straight from the issuer, over TLS (OpenID Connect Core 3.1.3.7).
      id_token_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'RS384', 'RS512', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'HS256'],
      ...Object.fromEntries(Object.entries(optional).filter(([, url]) => url !== undefined)),
    },
    client: { client_id: oauth.clientId },
    authentication: oauth.clientSecret === undefined ? None() : ClientSecretPost(oauth.clientSecret),
  }
}

/**
 * Sends one request of oauth4webapi over a connection of its own and says what came back. Follows no redirect.
 *
 * @param request Makes the request with the options it is given.
 * @throws {GatewayError} `GW_PERMIT` when the watch refuses the request, `GW_CONFIG` for a URL without TLS that leaves the machine.
 */
export async function askOAuth(
  request: (options: OAuthRequestOptions) => Promise<Response>,
  { party: { oauth, provider }, encoding = oauth.encoding, permit, signal, now }: AskOptions,
): Promise<OAuthAnswer> {
  const upstream = new Upstream(TRANSPORT)
  const startedAt = performance.now()
  let answer: PostedAnswer | undefined
  let shape: SentShape | undefined
  const options: OAuthRequestOptions = {
    signal,
    headers: new Headers({ 'user-agent': 'gatewatch', ...oauth.headers }),
    [allowInsecureRequests]: true, // isTokenUrlSafe decides below
    [customFetch]: async (url, { body, headers }) => {
      if (!isTokenUrlSafe(url)) throw configError(`an OAuth URL of ${provider.id} has no TLS and leaves the machine`)
      const fields = new URLSearchParams(body as URLSearchParams)
      shape = sentShape(fields, encoding)
      answer = await post(upstream, { url, body: fields, headers, encoding, signal })
      return new Response(null)
    },
  }
  try {
    await carryPermit(permit, () => request(options))
  } catch (error) {
    return unanswered(error, signal, shape)
  } finally {
    await upstream.close()
  }
  if (!answer || !shape) throw new TypeError('the request ended without an answer and without an error')
  return read(answer, shape, Math.round(now + performance.now() - startedAt), provider)
}

function read({ status, headers, bytes, cut }: PostedAnswer, shape: SentShape, now: number, provider: Provider): OAuthAnswer {
  const facts = headFacts(status, headers, now)
  const judged = { status, headers, body: bytes, isWhole: !cut }
  const verdict = judgeTokenAnswer(judged, { grant: 'other', judgeRefresh: provider.judgeRefresh })
  // What holds no tokens may be what was asked for all the same: not every OAuth endpoint is a token endpoint.
  if (verdict.outcome === 'granted' || (verdict.outcome === 'unreadable' && !cut)) return { kind: 'answered', ...facts, shape, verdict }
  if (verdict.outcome === 'unreadable') return { kind: 'unanswered', shape, ...unreadableVerdict('answer_too_long'), cause: undefined }
  return { kind: 'refused', ...facts, shape, verdict }
}

function unanswered(error: unknown, signal: AbortSignal, shape: SentShape | undefined): UnansweredRequest {
  if (!(error instanceof UpstreamError)) throw error
  if (isGatewayError(error.cause, 'GW_PERMIT')) throw error.cause
  const isLeft = error.type === 'aborted' && (signal.reason as { name?: unknown } | undefined)?.name !== 'TimeoutError'
  const { outcome, errorType } = judgeTokenAnswer({ error })
  return {
    kind: 'unanswered',
    ...(shape && { shape }),
    // A caller that leaves a login gives it up, whether its last request was sent or not.
    outcome: isLeft ? 'cancelled' : error.type === 'aborted' ? 'timeout' : outcome,
    errorType: error.type === 'aborted' ? error.code : (errorType ?? outcome),
    cause: error,
  }
}
