import type { Credential } from '../domain/credential.ts'
import { configError } from '../domain/gateway-error.ts'
import { judgeAttempt } from './attempt-judgement.ts'
import { LOGIN_DEFAULTS, type Provider, type ProviderHeaders, type ProviderSettings, withSettings } from './provider.ts'
import { judgeRefresh, type RefreshCodes } from './refresh-judgement.ts'
import { readJwtClaims, requireSecret } from './token-fields.ts'

interface OpenaiCompatibleSettings extends ProviderSettings {
  /** The provider's name in configuration, profiles and telemetry. */
  readonly id: string
}

/**
 * Any provider that speaks OpenAI's wire: bearer key, `/chat/completions`, `/responses`, `/models` below its base URL.
 *
 * With `tokenUrl` and `clientId` its OAuth grants are refreshed by RFC 6749, and refusals judged by it.
 *
 * @throws {GatewayError} `GW_CONFIG` when `baseUrl` is missing or a setting cannot be used.
 */
export function openaiCompatible({ id, ...settings }: OpenaiCompatibleSettings): Provider {
  if (settings.baseUrl === undefined) {
    throw configError(`providers.${id}.baseUrl is missing: a provider that is not built in needs one`)
  }
  return withSettings(
    {
      id,
      genaiName: id,
      baseUrl: settings.baseUrl,
      paths: { responses: '/responses', chat_completions: '/chat/completions' },
      modelsPath: '/models',
      billingOf: () => 'metered',
      authorize: (credential: Credential) => ({ authorization: `Bearer ${requireSecret(credential, id)}` }),
      judgeAttempt,
      judgeRefresh: answer => judgeRefresh(answer),
      accountOf: () => undefined,
    },
    settings,
  )
}

/** Where OpenAI's access tokens keep what belongs to ChatGPT. */
const AUTH_CLAIM = 'https://api.openai.com/auth'

/** What auth.openai.com says beyond RFC 6749; `token_expired` of a token it could not even read is distinguished by its text. */
const OPENAI_REFRESH_CODES: RefreshCodes = {
  refresh_token_reused: 'invalidated',
  refresh_token_invalidated: 'invalidated',
  refresh_token_revoked: 'invalidated',
  token_invalidated: 'invalidated',
  token_revoked: 'invalidated',
  account_deactivated: 'invalidated',
  refresh_token_expired: 'grant_expired',
  token_expired: 'grant_expired',
}

/** The backend lists its models to a client that says its version; this one was seen in use. */
const CLIENT_VERSION = '0.169.0'

/** The ChatGPT backend, paid by subscription: what the Codex CLI and OpenClaw's `openai-codex` profiles talk to. */
export function openaiCodex(settings: ProviderSettings = {}): Provider {
  return withSettings(
    {
      id: 'openai-codex',
      genaiName: 'openai',
      baseUrl: 'https://chatgpt.com/backend-api',
      paths: { responses: '/codex/responses' },
      modelsPath: '/codex/models',
      modelsQuery: `?client_version=${CLIENT_VERSION}`,
      oauth: {
        tokenUrl: 'https://auth.openai.com/oauth/token',
        clientId: 'app_EMoamEEZ73f0CkXaXp7hrann',
        encoding: 'form',
        refusals: 'openai',
        login: {
          ...LOGIN_DEFAULTS,
          authorizationUrl: 'https://auth.openai.com/oauth/authorize',
          deviceUrl: 'https://auth.openai.com/api/accounts/deviceauth/usercode',
          deviceDialect: 'chatgpt',
          revocationUrl: 'https://auth.openai.com/oauth/revoke',
          revocationEncoding: 'json',
          issuer: 'https://auth.openai.com',
          // Registered with the client: neither another port nor another host is taken.
          redirectUrl: 'http://localhost:1455/auth/callback',
          // Any other scope is answered with invalid_scope.
          scopes: ['openid', 'profile', 'email', 'offline_access'],
          authorizationParameters: { id_token_add_organizations: 'true', codex_cli_simplified_flow: 'true', originator: 'gatewatch' },
          usesNonce: false,
        },
      },
      billingOf: credential => (credential.type === 'api_key' ? 'metered' : 'subscription'),
      authorize,
      judgeAttempt,
      judgeRefresh: answer => judgeRefresh(answer, OPENAI_REFRESH_CODES),
      accountOf,
    },
    settings,
  )
}

function authorize(credential: Credential, sent: ProviderHeaders = {}): Record<string, string> {
  const secret = requireSecret(credential, 'openai-codex')
  const headers: Record<string, string> = { authorization: `Bearer ${secret}` }
  const account = (credential.type === 'oauth' ? credential.account : undefined) ?? accountOf(secret)
  if (account !== undefined) headers['chatgpt-account-id'] = account
  if (sent['openai-beta'] === undefined) headers['openai-beta'] = 'responses=experimental'
  if (sent.originator === undefined) headers.originator = 'gatewatch'
  return headers
}

function accountOf(accessToken: string): string | undefined {
  const claim = readJwtClaims(accessToken)?.[AUTH_CLAIM]
  const account = typeof claim === 'object' && claim !== null ? (claim as Record<string, unknown>).chatgpt_account_id : undefined
  // It becomes a header: whatever is no plain id stays out.
  return typeof account === 'string' && /^[\w.-]{1,128}$/.test(account) ? account : undefined
}

/** The OpenAI API, paid by use. It has no OAuth of its own; one that is configured is judged by OpenAI's codes. */
export function openai(settings: ProviderSettings = {}): Provider {
  return {
    ...openaiCompatible({ baseUrl: 'https://api.openai.com/v1', ...settings, id: 'openai' }),
    judgeRefresh: answer => judgeRefresh(answer, OPENAI_REFRESH_CODES),
  }
}
