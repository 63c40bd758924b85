import {
  authorizationCodeGrantRequest,
  clockSkew,
  clockTolerance,
  deviceCodeGrantRequest,
  expectNoNonce,
  expectNoState,
  getValidatedIdTokenClaims,
  processAuthorizationCodeResponse,
  validateAuthResponse,
} from 'oauth4webapi'
import { readGrantedAnswer } from './granted-answer.ts'
import { type HeadFacts, unreadableVerdict } from './judge.ts'
import { type AskOptions, askOAuth, type OAuthParty, type RefusedRequest, type UnansweredRequest } from './oauth-request.ts'
import type { GrantedAnswer } from './refresh-answer.ts'
import type { SentShape } from './sent-shape.ts'

/** Tokens that a user signed in for. */
export interface SignedIn {
  readonly kind: 'granted'
  readonly answer: GrantedAnswer
  readonly shape: SentShape
}

/** Tokens came back and do not hold: another issuer, another client, another nonce, or no id token at all. */
interface UnverifiedGrant extends HeadFacts {
  readonly kind: 'unverified'
  readonly shape: SentShape
  /** What was answered, so that it can be given back. */
  readonly answer: GrantedAnswer
}

export type CodeGrantAnswer = SignedIn | UnverifiedGrant | RefusedRequest | UnansweredRequest

interface CodeGrantOptions extends AskOptions {
  /** What the browser brought back, as `validateAuthResponse` of oauth4webapi let it through. */
  readonly parameters: URLSearchParams
  readonly redirectUrl: string
  readonly codeVerifier: string
  /** The nonce that was sent; without one the id token may hold none. */
  readonly nonce?: string
  /** Sent once more beside the code. */
  readonly state?: string
}

/** Clocks that differ by less are the same, in seconds. */
const TOLERANCE_S = 60

/** Exchanges an authorization code for tokens. @see RFC 6749 section 4.1.3, RFC 7636 section 4.5 */
export async function requestCodeGrant(options: CodeGrantOptions): Promise<CodeGrantAnswer> {
  const { party, parameters, redirectUrl, codeVerifier, nonce, state } = options
  const { server, client, authentication } = party
  const answer = await askOAuth(
    request =>
      authorizationCodeGrantRequest(server, client, authentication, parameters, redirectUrl, codeVerifier, {
        ...request,
        ...(state !== undefined && { additionalParameters: { state } }),
      }),
    options,
  )
  return answer.kind === 'answered' ? readGrant(answer, party, options.now, nonce) : answer
}

/** Asks whether the code was entered on the other device, and for the tokens if so. @see RFC 8628 section 3.4 */
export async function requestDeviceGrant(options: AskOptions & { readonly deviceCode: string }): Promise<CodeGrantAnswer> {
  const { party, deviceCode } = options
  const { server, client, authentication } = party
  const answer = await askOAuth(request => deviceCodeGrantRequest(server, client, authentication, deviceCode, request), options)
  return answer.kind === 'answered' ? readGrant(answer, party, options.now, undefined) : answer
}

/** A code that was handed over in the answer of an API and came through no browser. */
export function handedOverCode({ server, client }: OAuthParty, code: string): URLSearchParams {
  return validateAuthResponse(server, client, new URLSearchParams({ code }), expectNoState)
}

async function readGrant(
  { kind: _kind, shape, verdict, ...facts }: Extract<Awaited<ReturnType<typeof askOAuth>>, { kind: 'answered' }>,
  party: OAuthParty,
  now: number,
  nonce: string | undefined,
): Promise<CodeGrantAnswer> {
  const { provider } = party
  const { outcome, errorType = outcome, fields } = verdict
  if (outcome !== 'granted' || !fields) return { kind: 'unanswered', shape, outcome, errorType, cause: undefined }
  const answer = readGrantedAnswer(fields, facts, { provider, now: now + (facts.skewMs ?? 0) })
  if (typeof answer === 'string') return { kind: 'unanswered', shape, ...unreadableVerdict(answer), cause: undefined }
  const verified = await verifiedSubject(answer, party, nonce)
  if (verified === 'unverified') return { kind: 'unverified', ...facts, shape, answer }
  const account = answer.account ?? verified.subject
  return { kind: 'granted', shape, answer: { ...answer, ...(account !== undefined && { account }) } }
}

/**
 * Checks issuer, audience, expiry and nonce of the id token, where the issuer is known. Its signature is not: the token came
 * straight from the issuer.
 *
 * @see OpenID Connect Core 1.0 section 3.1.3.7
 */
async function verifiedSubject(
  { access, idToken, skewMs = 0 }: GrantedAnswer,
  { oauth: { login }, server, client }: OAuthParty,
  nonce: string | undefined,
): Promise<{ readonly subject?: string } | 'unverified'> {
  if (login?.issuer === undefined || (idToken === undefined && nonce === undefined)) return {}
  const answer = { access_token: access, token_type: 'bearer', ...(idToken !== undefined && { id_token: idToken }) }
  try {
    const checked = await processAuthorizationCodeResponse(
      server,
      { ...client, [clockSkew]: Math.round(skewMs / 1000), [clockTolerance]: TOLERANCE_S },
      Response.json(answer),
      { expectedNonce: nonce ?? expectNoNonce, requireIdToken: idToken !== undefined || nonce !== undefined },
    )
    const subject = getValidatedIdTokenClaims(checked)?.sub
    return subject === undefined ? {} : { subject }
  } catch {
    // The errors of oauth4webapi carry the token as their cause.
    return 'unverified'
  }
}
