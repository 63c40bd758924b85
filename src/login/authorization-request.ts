import {
  AuthorizationResponseError,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  validateAuthResponse,
} from 'oauth4webapi'
import { readErrorBody } from '../providers/error-body.ts'
import type { LoginEndpoints } from '../providers/login-endpoints.ts'
import type { OAuthParty } from '../token-requests/oauth-request.ts'
import { registerSecret } from '../tools/secret-registry.ts'
import { OperationError } from './operation-error.ts'

/** What one login keeps to itself until its browser comes back. */
export interface LoginSecrets {
  readonly state: string
  readonly codeVerifier: string
  readonly codeChallenge: string
  /** Absent where the provider sends none back. */
  readonly nonce?: string
}

/** Fresh secrets for one login. From here on nothing shows them but the URL that the browser opens. */
export async function loginSecrets({ issuer, scopes, usesNonce }: LoginEndpoints): Promise<LoginSecrets> {
  const codeVerifier = generateRandomCodeVerifier()
  const state = generateRandomState()
  const nonce = usesNonce && issuer !== undefined && scopes.includes('openid') ? generateRandomNonce() : undefined
  for (const secret of [codeVerifier, state, nonce]) registerSecret(secret)
  return { state, codeVerifier, codeChallenge: await calculatePKCECodeChallenge(codeVerifier), ...(nonce !== undefined && { nonce }) }
}

/** The URL at which a user signs in. @see RFC 6749 section 4.1.1, RFC 7636 section 4.3 */
export function authorizationUrl({ oauth }: OAuthParty, login: LoginEndpoints, secrets: LoginSecrets, redirectUrl: string): string {
  const url = new URL(login.authorizationUrl ?? '')
  const parameters = {
    ...login.authorizationParameters,
    response_type: 'code',
    client_id: oauth.clientId,
    redirect_uri: redirectUrl,
    ...(login.scopes.length > 0 && { scope: login.scopes.join(' ') }),
    state: secrets.state,
    ...(secrets.nonce !== undefined && { nonce: secrets.nonce }),
    code_challenge: secrets.codeChallenge,
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/**
 * Checks what the browser brought back: state, issuer (RFC 9207), and whether it is a refusal.
 *
 * @throws {OperationError} `denied`, `refused`, or `unverified` when it does not belong to this login.
 */
export function readRedirect({ server, client, provider }: OAuthParty, parameters: URLSearchParams, state: string): URLSearchParams {
  registerSecret(parameters.get('code') ?? undefined)
  try {
    return validateAuthResponse(server, client, parameters, state)
  } catch (error) {
    // Their cause is what the browser brought, code and all.
    if (error instanceof AuthorizationResponseError) throw refusedByPage(provider.id, error.error)
    const issuer = parameters.get('iss')
    const why =
      issuer !== null && issuer !== server.issuer
        ? `it names another issuer than expected; if that is the right one, set providers.${provider.id}.issuer`
        : 'its state is not the one that was sent'
    throw new OperationError(
      'unverified',
      'GW_LOGIN_FAILED',
      `what the browser brought back is not of this login: ${why}; nothing was stored`,
      {
        next: 'sign_in_again',
      },
    )
  }
}

function refusedByPage(providerId: string, error: string): OperationError {
  const { code } = readErrorBody({ status: 400, headers: {}, body: JSON.stringify({ error }) })
  return new OperationError(
    code === 'access_denied' ? 'denied' : 'refused',
    'GW_LOGIN_FAILED',
    `${providerId} refused the login (${code ?? 'no known code'}); nothing was stored`,
    {
      next: code === 'invalid_scope' || code === 'unauthorized_client' ? 'fix_configuration' : 'sign_in_again',
      ...(code !== undefined && { pageCode: code }),
    },
  )
}
