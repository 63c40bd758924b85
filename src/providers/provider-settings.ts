import { type Billing, PROTOCOLS, type Protocol } from '../domain/enums.ts'
import { configError, type GatewayError } from '../domain/gateway-error.ts'
import { LOGIN_KEYS, type LoginSettings, loginWithSettings } from './login-endpoints.ts'
import type { OAuthEndpoints, Provider } from './provider.ts'
import { isTokenUrlSafe } from './token-url.ts'

/** What an operator may set about a provider; what is absent stays as built in. */
export interface ProviderSettings extends LoginSettings {
  /** Absolute http(s) URL the paths are appended to; without query and credentials. */
  readonly baseUrl?: string
  /** Path below `baseUrl` for each wire language; replaces the built-in path of that language only. */
  readonly paths?: Readonly<{ [P in Protocol]?: string | undefined }>
  readonly modelsPath?: string
  /** Token endpoint: https, or http on loopback. Needs `clientId` where nothing is built in. */
  readonly tokenUrl?: string
  readonly clientId?: string
  readonly clientSecret?: string
  /** Body of a token request. @default what is built in, else 'form' */
  readonly encoding?: OAuthEndpoints['encoding']
  /** How its profiles pay unless a profile says otherwise. @default by credential type for subscriptions, else 'metered' */
  readonly billing?: Billing
  /** `gen_ai.provider.name`. @default what is built in, else the id */
  readonly genaiName?: string
}

/**
 * A provider as the operator wants it.
 *
 * @throws {GatewayError} `GW_CONFIG` naming the provider and the setting, never its value: a URL may carry a password.
 */
export function withSettings(provider: Provider, settings: ProviderSettings): Provider {
  const oauth = oauthWithSettings(provider, settings)
  const { billing } = settings
  const { oauth: _replaced, ...rest } = provider
  return {
    ...rest,
    baseUrl: checkedUrl(provider.id, 'baseUrl', settings.baseUrl ?? provider.baseUrl).replace(/\/+$/, ''),
    paths: { ...provider.paths, ...checkedPaths(provider.id, settings.paths) },
    ...(settings.modelsPath === undefined ? {} : { modelsPath: checkedPath(provider.id, 'modelsPath', settings.modelsPath) }),
    ...(settings.genaiName === undefined ? {} : { genaiName: settings.genaiName }),
    ...(oauth === undefined ? {} : { oauth }),
    ...(billing === undefined ? {} : { billingOf: () => billing }),
  }
}

function oauthWithSettings({ id, oauth }: Provider, settings: ProviderSettings): OAuthEndpoints | undefined {
  const { tokenUrl, clientId, clientSecret, encoding } = settings
  const isSet = [tokenUrl, clientId, clientSecret, encoding, ...LOGIN_KEYS.map(key => settings[key])].some(value => value !== undefined)
  if (!isSet) return oauth
  const url = tokenUrl ?? oauth?.tokenUrl
  const client = clientId ?? oauth?.clientId
  if (url === undefined || client === undefined)
    throw wrong(id, url === undefined ? 'tokenUrl' : 'clientId', 'is missing: an OAuth provider needs both tokenUrl and clientId')
  checkedUrl(id, 'tokenUrl', url)
  if (!isTokenUrlSafe(url)) throw wrong(id, 'tokenUrl', 'must begin with https:// (http:// is allowed on loopback only)')
  const secret = clientSecret ?? oauth?.clientSecret
  const login = loginWithSettings(oauth?.login, settings, {
    isElsewhere: oauth === undefined || new URL(url).origin !== new URL(oauth.tokenUrl).origin,
    wrong: (key, what) => wrong(id, key, what),
  })
  return {
    tokenUrl: url,
    clientId: client,
    encoding: encoding ?? oauth?.encoding ?? 'form',
    ...(secret === undefined ? {} : { clientSecret: secret }),
    ...(oauth?.headers === undefined ? {} : { headers: oauth.headers }),
    ...(oauth?.refusals === undefined ? {} : { refusals: oauth.refusals }),
    ...(login === undefined ? {} : { login }),
  }
}

function checkedUrl(id: string, key: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) throw wrong(id, key, 'must be an absolute http(s) URL')
  if (url.username || url.password) throw wrong(id, key, 'must not carry a user name or password')
  if (key === 'baseUrl' && (url.search || url.hash)) throw wrong(id, key, 'must not have a query or fragment')
  return value
}

function checkedPaths(id: string, paths: ProviderSettings['paths'] = {}): Provider['paths'] {
  const checked: Partial<Record<Protocol, string>> = {}
  for (const protocol of PROTOCOLS) {
    const path = paths[protocol]
    if (path !== undefined) checked[protocol] = checkedPath(id, `paths.${protocol}`, path)
  }
  return checked
}

function checkedPath(id: string, key: string, path: string): string {
  if (!path.startsWith('/')) throw wrong(id, key, 'must begin with a slash')
  return path
}

function wrong(id: string, key: string, what: string): GatewayError {
  return configError(`providers.${id}.${key} ${what}`)
}
