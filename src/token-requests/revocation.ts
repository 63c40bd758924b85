import { revocationRequest } from 'oauth4webapi'
import { type AskOptions, askOAuth, type OAuthAnswer } from './oauth-request.ts'

interface RevocationOptions extends Omit<AskOptions, 'encoding'> {
  /** A refresh token, whose access tokens die with it; or, where there is none, the access token. */
  readonly token: string
  readonly kind: 'refresh_token' | 'access_token'
}

/** Gives a token back. A token that the provider does not know is no error. @see RFC 7009 section 2 */
export function requestRevocation({ token, kind, ...options }: RevocationOptions): Promise<OAuthAnswer> {
  const { server, client, authentication, oauth } = options.party
  return askOAuth(
    request => revocationRequest(server, client, authentication, token, { ...request, additionalParameters: { token_type_hint: kind } }),
    { ...options, encoding: oauth.login?.revocationEncoding ?? 'form' },
  )
}
