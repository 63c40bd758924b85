import type { Request } from 'express'
import { type Answer, anthropicError, chatGptError, openAiError } from './answer.ts'
import type { AccessStanding, Grants } from './grants.ts'
import { namedFault } from './named-faults.ts'

/** An API key the simulator accepts. */
export interface ApiKeyOptions {
  /** Provider id: `anthropic` opens the Anthropic endpoints, any other the OpenAI ones. */
  provider: string
  /** For faults that are meant for one account. */
  account?: string
}

/** Who asks, as far as the request's secret shows. */
export interface Asker extends AccessStanding {
  readonly with: 'nothing' | 'api_key' | 'access_token'
}

/** Reads the bearer or `x-api-key` of a request and looks it up. */
export function identify(request: Request, grants: Grants, apiKeys: ReadonlyMap<string, ApiKeyOptions>): Asker {
  const bearer = /^Bearer\s+(.+)$/i.exec(request.get('authorization') ?? '')?.[1]
  const secret = bearer ?? request.get('x-api-key')
  if (!secret) return { with: 'nothing', standing: 'unknown' }
  const key = apiKeys.get(secret)
  if (key) return { with: 'api_key', standing: 'good', ...key }
  return { with: bearer === undefined ? 'api_key' : 'access_token', ...grants.accessStanding(secret) }
}

/** Why `/v1/*` turns a caller away; `undefined` when it does not. OAuth access tokens are as good as keys there. */
export function refuseOpenAi(asker: Asker): Answer | undefined {
  if (asker.with === 'nothing') return named('missing_bearer_401', 'missing_bearer')
  if (asker.standing === 'expired') return named('token_expired_401', 'token_expired')
  if (asker.standing === 'invalidated') return named('token_invalidated_401', 'token_invalidated')
  if (asker.standing === 'unknown' || asker.provider === 'anthropic') return named('invalid_api_key_401', 'invalid_api_key')
  return undefined
}

/** Why the ChatGPT backend turns a caller away: it wants an OAuth access token and the account it belongs to. */
export function refuseChatGpt(asker: Asker, accountHeader: string | undefined): Answer | undefined {
  if (asker.with === 'nothing') return named('missing_bearer_401', 'missing_bearer')
  if (asker.standing === 'expired') return named('token_expired_401', 'token_expired')
  if (asker.standing === 'invalidated') return named('token_invalidated_401', 'token_invalidated')
  if (asker.with === 'api_key' || asker.standing === 'unknown' || asker.provider === 'anthropic') {
    const message = 'Could not parse your authentication token. Please try signing in again.'
    return { status: 401, body: chatGptError('invalid_token', message), code: 'invalid_token' }
  }
  if (!accountHeader) {
    return { status: 400, body: openAiError('missing_account', 'Missing header chatgpt-account-id'), code: 'missing_account' }
  }
  if (accountHeader === asker.account) return undefined
  return { status: 403, body: openAiError('account_mismatch', 'The token does not belong to this account.'), code: 'account_mismatch' }
}

/** Why the Anthropic API turns a caller away. */
export function refuseAnthropic(asker: Asker): Answer | undefined {
  if (asker.with === 'nothing') return authenticationError('x-api-key header is required')
  if (asker.standing === 'expired') return named('anthropic_token_expired_401', 'authentication_error')
  if (asker.standing === 'invalidated') return named('anthropic_token_revoked_401', 'authentication_error')
  if (asker.standing === 'good' && asker.provider === 'anthropic') return undefined
  return authenticationError(asker.with === 'api_key' ? 'invalid x-api-key' : 'Invalid bearer token')
}

function named(name: Parameters<typeof namedFault>[0], code: string): Answer {
  const { status, body } = namedFault(name)
  return { status, body, code }
}

function authenticationError(message: string): Answer {
  return { status: 401, body: anthropicError('authentication_error', message), code: 'authentication_error' }
}
