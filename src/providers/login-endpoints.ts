import type { GatewayError } from '../domain/gateway-error.ts'
import { isTokenUrlSafe } from './token-url.ts'

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
export interface LoginSettings {
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

export const LOGIN_KEYS = [
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
export function loginWithSettings(
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
