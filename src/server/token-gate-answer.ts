import type { Response } from 'express'
import type { OAuthCredential } from '../domain/credential.ts'
import { errorType, isGatewayError } from '../domain/gateway-error.ts'
import type { OAuthEndpoints } from '../providers/provider.ts'
import { keepPrivate } from './error-answer.ts'
import type { TokenRefusal } from './token-gate-request.ts'

/**
 * Answers with the tokens of a credential, in the words of RFC 6749 section 5.1 with the id token of OpenID Connect.
 *
 * @param now Epoch milliseconds; what is left of the access token's life is counted from here.
 */
export function answerTokens(response: Response, { access, refresh, idToken, scope, expiresAt }: OAuthCredential, now: number): void {
  keepFromCaches(response).json({
    access_token: access,
    token_type: 'Bearer',
    ...(expiresAt !== undefined && { expires_in: Math.max(0, Math.floor((expiresAt - now) / 1000)) }),
    ...(refresh && { refresh_token: refresh }),
    ...(idToken && { id_token: idToken }),
    ...(scope && { scope }),
  })
}

/**
 * Answers with a refusal: as RFC 6749 section 5.2 has it, or as clients of OpenAI read it. Those take a 401 for a login
 * that is gone, and everything else for something that may pass.
 */
export function answerRefusal(response: Response, refusal: TokenRefusal, dialect: OAuthEndpoints['refusals']): void {
  const { error, description, status, retryAfterMs, providerCode } = refusal
  if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
  keepFromCaches(response)
  if (dialect === 'openai') {
    const isGone = error === 'invalid_grant' && providerCode !== undefined
    const body = { message: description, type: 'invalid_request_error', param: null, code: providerCode ?? error }
    response.status(isGone ? 401 : status).json({ error: body })
  } else response.status(status).json({ error, error_description: description })
}

/**
 * What an acquisition that failed says to a token client: `invalid_grant` when only a new login helps, else that it may pass.
 *
 * @param deadCode The provider's own code for a grant that is dead, where it gave one.
 */
export function refusalOf(failure: unknown, deadCode: string | undefined): TokenRefusal {
  if (isGatewayError(failure, 'GW_NEEDS_LOGIN')) {
    return {
      status: 400,
      error: 'invalid_grant',
      description: ascii(failure.message),
      providerCode: deadCode ?? 'refresh_token_invalidated',
    }
  }
  const isThrottled = isGatewayError(failure) && failure.outcome === 'throttled'
  return {
    status: isThrottled ? 429 : 503,
    error: isThrottled ? 'slow_down' : 'temporarily_unavailable',
    description: isGatewayError(failure) ? ascii(failure.message) : `the gateway failed (${errorType(failure)}); its telemetry says where`,
    retryAfterMs: (isGatewayError(failure) ? failure.retryAfterMs : undefined) ?? RETRY_AFTER_MS,
  }
}

/** A client that is told nothing may try again at once. */
const RETRY_AFTER_MS = 1_000

/** RFC 6749 section 5.1: no cache may keep what holds tokens; nor is a refusal one to be kept. */
function keepFromCaches(response: Response): Response {
  keepPrivate(response)
  return response.setHeader('pragma', 'no-cache')
}

/** RFC 6749 section 5.2: printable ASCII without quotation mark and backslash. */
function ascii(text: string): string {
  return text.replace(/["\\]/g, "'").replace(/[^\x20-\x7e]/g, '?')
}
