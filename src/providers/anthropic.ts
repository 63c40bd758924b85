import type { Credential } from '../domain/credential.ts'
import { isJsonObject } from '../tools/json-object.ts'
import { judgeAttempt } from './attempt-judgement.ts'
import type { Provider, ProviderHeaders } from './provider.ts'
import { LOGIN_DEFAULTS, type ProviderSettings, withSettings } from './provider.ts'
import { judgeRefresh } from './refresh-judgement.ts'
import { requireSecret } from './token-fields.ts'

/** The beta without which api.anthropic.com does not take OAuth tokens. */
const OAUTH_BETA = 'oauth-2025-04-20'

/** The Anthropic API: by key (metered), or with the tokens of a Claude subscription, its long-lived setup tokens included. */
export function anthropic(settings: ProviderSettings = {}): Provider {
  return withSettings(
    {
      id: 'anthropic',
      genaiName: 'anthropic',
      baseUrl: 'https://api.anthropic.com',
      paths: { messages: '/v1/messages' },
      modelsPath: '/v1/models',
      oauth: {
        tokenUrl: 'https://platform.claude.com/v1/oauth/token',
        clientId: '9d1c250a-e61b-44d9-88ed-5944d1962f5e',
        encoding: 'json',
        login: {
          ...LOGIN_DEFAULTS,
          authorizationUrl: 'https://claude.ai/oauth/authorize',
          redirectUrl: 'http://localhost/callback',
          scopes: ['org:create_api_key', 'user:profile', 'user:inference'],
          authorizationParameters: { code: 'true' },
          usesNonce: false,
          repeatsState: true,
        },
      },
      billingOf: credential => (credential.type === 'api_key' ? 'metered' : 'subscription'),
      authorize,
      judgeAttempt,
      judgeRefresh: answer => judgeRefresh(answer),
      accountOf: () => undefined,
      accountOfAnswer,
    },
    settings,
  )
}

function authorize(credential: Credential, sent: ProviderHeaders = {}): Record<string, string> {
  const secret = requireSecret(credential, 'anthropic')
  const headers: Record<string, string> = {}
  if (sent['anthropic-version'] === undefined) headers['anthropic-version'] = '2023-06-01'
  if (credential.type === 'api_key') {
    headers['x-api-key'] = secret
  } else {
    headers.authorization = `Bearer ${secret}`
    headers['anthropic-beta'] = withOAuthBeta(sent['anthropic-beta'])
  }
  return headers
}

/** The client's betas stay: without them its request means something else. */
function withOAuthBeta(sent: string | string[] | undefined): string {
  const betas = (Array.isArray(sent) ? sent.join(',') : (sent ?? '')).split(',').map(beta => beta.trim())
  return [...new Set([...betas.filter(Boolean), OAUTH_BETA])].join(',')
}

/** Its tokens are opaque; whose they are stands beside them. */
function accountOfAnswer({ account }: Readonly<Record<string, unknown>>): string | undefined {
  const uuid = isJsonObject(account) ? account.uuid : undefined
  return typeof uuid === 'string' && /^[\w.-]{1,128}$/.test(uuid) ? uuid : undefined
}
