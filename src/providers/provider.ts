import type { Credential } from '../domain/credential.ts'
import { type AttemptOutcome, type Billing, PROTOCOLS, type Protocol, type TokenRequestOutcome } from '../domain/enums.ts'
import { configError, type GatewayError } from '../domain/gateway-error.ts'

/** Says whether a token request may go to `url`: TLS, or plain HTTP that does not leave the machine. */
export function isTokenUrlSafe(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol } = new URL(url)
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackUrl(url))
}

/** Says whether `url` leads to this machine and nowhere else. */
export function isLoopbackUrl(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

/** How a provider hands out codes for another device: by RFC 8628, or as ChatGPT does it for the Codex CLI. */
export const DEVICE_DIALECTS = ['rfc8628', 'chatgpt'] as const
export type DeviceDialect = (typeof DEVICE_DIALECTS)[number]

/** How a user signs in at a provider, and out again. Data alone; URLs are absolute. */
export interface LoginEndpoints {
  /** Where a browser signs in (RFC 6749 section 3.1); absent where only a device code will do. */
  readonly authorizationUrl?: string
  /** Where a code for another device comes from (RFC 8628 section 3.1). */
  readonly deviceUrl?: string
  readonly deviceDialect: DeviceDialect
  /** Where a token is given back (RFC 7009). */
  readonly revocationUrl?: string
  /** Body of a revocation. RFC 7009 says form. */
  readonly revocationEncoding: 'form' | 'json'
  /** Who signs the id tokens; without it they are not looked at. */
  readonly issuer?: string
  /** Where the browser comes back. On loopback without a port: any free one (RFC 8252 section 7.3). */
  readonly redirectUrl: string
  readonly scopes: readonly string[]
  /** What the provider wants in addition to in the URL that the browser opens. */
  readonly authorizationParameters: Readonly<Record<string, string>>
  /** Sends a nonce and wants it back in the id token. Not where no client of the provider does. */
  readonly usesNonce: boolean
  /** Sends `state` once more with the code, as Anthropic wants it. */
  readonly repeatsState: boolean
}

/** What an operator may set about signing in; what is absent stays as built in. */
interface LoginSettings {
  readonly authorizationUrl?: string
  readonly deviceUrl?: string
  /** @default what is built in, else 'rfc8628' */
  readonly deviceDialect?: DeviceDialect
  readonly revocationUrl?: string
  readonly issuer?: string
  /** @default what is built in, else 'http://127.0.0.1/callback' */
  readonly redirectUrl?: string
  /** @default what is built in, else what the provider gives unasked */
  readonly scopes?: readonly string[]
  readonly authorizationParameters?: Readonly<Record<string, string>>
}

const LOGIN_KEYS = [
  'authorizationUrl',
  'deviceUrl',
  'deviceDialect',
  'revocationUrl',
  'issuer',
  'redirectUrl',
  'scopes',
  'authorizationParameters',
] as const satisfies readonly (keyof LoginSettings)[]

/** What a user signs in with where nothing is built in. */
export const LOGIN_DEFAULTS = {
  deviceDialect: 'rfc8628',
  revocationEncoding: 'form',
  redirectUrl: 'http://127.0.0.1/callback',
  scopes: [],
  authorizationParameters: {},
  usesNonce: true,
  repeatsState: false,
} as const satisfies LoginEndpoints

/** Parameters that we send ourselves: set from outside they would undo what protects the login. */
const OURS = ['response_type', 'client_id', 'redirect_uri', 'scope', 'state', 'nonce', 'code_challenge', 'code_challenge_method']
const SAFE_URLS = ['authorizationUrl', 'deviceUrl', 'revocationUrl'] as const

interface SettingContext {
  /** The token endpoint is not at the origin that is built in. */
  readonly isElsewhere: boolean
  wrong(key: string, what: string): GatewayError
}

/**
 * Signing in as the operator wants it. Where the token endpoint is elsewhere, the built-in addresses do not count: a code
 * that one server gave would be shown to another.
 *
 * @throws what `wrong` makes of the setting that cannot be used.
 */
function loginWithSettings(
  builtIn: LoginEndpoints | undefined,
  settings: LoginSettings,
  { isElsewhere, wrong }: SettingContext,
): LoginEndpoints | undefined {
  for (const key of SAFE_URLS) {
    const url = settings[key]
    if (url !== undefined && !isTokenUrlSafe(url)) throw wrong(key, 'must begin with https:// (http:// is allowed on loopback only)')
  }
  if (settings.redirectUrl !== undefined && !URL.canParse(settings.redirectUrl)) throw wrong('redirectUrl', 'must be an absolute URL')
  const taken = OURS.find(name => Object.hasOwn(settings.authorizationParameters ?? {}, name))
  if (taken) throw wrong(`authorizationParameters.${taken}`, 'is set by Gatewatch itself; leave it out')
  const { authorizationUrl: _authorization, deviceUrl: _device, revocationUrl: _revocation, issuer: _issuer, ...rest } = builtIn ?? {}
  const given = Object.fromEntries(LOGIN_KEYS.flatMap(key => (settings[key] === undefined ? [] : [[key, settings[key]]])))
  const login: LoginEndpoints = { ...LOGIN_DEFAULTS, ...(isElsewhere ? rest : builtIn), ...given }
  return builtIn === undefined && Object.keys(given).length === 0 ? undefined : login
}

/** How a provider's OAuth grants are refreshed. Endpoints are absolute URLs. */
export interface OAuthEndpoints {
  readonly tokenUrl: string
  readonly clientId: string
  /** Public clients have none; Google's "installed app" does. */
  readonly clientSecret?: string
  /** Body of a token request. RFC 6749 says form; some providers want JSON. */
  readonly encoding: 'form' | 'json'
  /** Headers the token endpoint insists on. */
  readonly headers?: Readonly<Record<string, string>>
  /** How its clients read a refusal. @default RFC 6749 section 5.2 */
  readonly refusals?: 'openai'
  /** How a user signs in here; absent where that is impossible. */
  readonly login?: LoginEndpoints
}

/** An answer of a provider that is not 2xx; its body is read up to `ERROR_BODY_READ` bytes. */
export interface RefusedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  /** The model that was asked for, where it was a model call. */
  readonly model?: string
}

/** What a refused model call means for the profile, decided once, where the provider is known. */
export interface AttemptJudgement {
  readonly outcome: AttemptOutcome
  /** The provider's own code, bounded; never its message. */
  readonly providerCode?: string
  /** The type of error in the provider's words, bounded as its code. */
  readonly providerType?: string
  readonly retryAfterMs?: number
  /** `model`: the limit is that of the model that was asked; other models of the same login are not concerned. @default the login's */
  readonly scope?: 'model'
}

/** What the answer to a token request means for the grant. */
export interface TokenJudgement {
  readonly outcome: TokenRequestOutcome
  readonly providerCode?: string
  readonly retryAfterMs?: number
  /** The provider says that this refresh token had been used before. */
  readonly replayed?: boolean
}

/** Headers a client sent with its call, names in lower case. */
export type ProviderHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A service that answers model calls. Data and pure functions; nothing here does I/O. */
export interface Provider {
  readonly id: string
  /** `gen_ai.provider.name` of the GenAI conventions. */
  readonly genaiName: string
  readonly baseUrl: string
  /** Path, below `baseUrl`, for each wire language the provider speaks. */
  readonly paths: Readonly<Partial<Record<Protocol, string>>>
  readonly modelsPath?: string
  /** Query, with its question mark, without which `modelsPath` is not answered. */
  readonly modelsQuery?: string
  readonly oauth?: OAuthEndpoints
  /** How a profile of the given credential type pays unless it says otherwise. */
  billingOf(credential: Credential): Billing
  /**
   * Headers that authenticate a request, names in lower case; the only place where a secret meets a header.
   *
   * To be laid over the client's headers, of which the inbound `authorization` and `x-api-key` were taken off before.
   *
   * @param sent What the client sent: defaults of the provider do not replace it, lists (`anthropic-beta`) are joined.
   * @throws {GatewayError} `GW_NEEDS_LOGIN` when the credential has lost its secret, `GW_CONFIG` when the secret holds
   *   characters that cannot stand in a header.
   */
  authorize(credential: Credential, sent?: ProviderHeaders): Record<string, string>
  judgeAttempt(answer: RefusedAnswer): AttemptJudgement
  judgeRefresh(answer: RefusedAnswer): TokenJudgement
  /** The account a fresh access token belongs to, if the token states it. */
  accountOf(accessToken: string): string | undefined
  /** The account, where the answer of the token endpoint names it beside the tokens. */
  accountOfAnswer?(answer: Readonly<Record<string, unknown>>): string | undefined
}

/** Bytes of an error answer that are read for judgement and relay; errors are short, HTML walls of text are not. */
export const ERROR_BODY_READ = 64 * 1024

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
