import type { Agent, Dispatcher } from 'undici'
import { configError } from '../domain/gateway-error.ts'

/** The proxies that the environment names, by the scheme of the URL that is asked for. */
export interface Proxies {
  readonly http?: string
  readonly https?: string
}

/** Limits of a dispatcher as undici names them; times in ms. */
export type ConnectionLimits = Required<
  Pick<Agent.Options, 'connections' | 'headersTimeout' | 'bodyTimeout' | 'connectTimeout' | 'allowH2'>
>

const PROTOCOLS = new Set(['http:', 'https:', 'socks5:', 'socks:'])

/**
 * Reads `HTTPS_PROXY` and `HTTP_PROXY`, in lower case too, which counts more. `NO_PROXY` is undici's to read.
 *
 * @returns `undefined` where none is named.
 * @throws {GatewayError} `GW_CONFIG` for what is no URL of a proxy; it may hold a password, so it is not repeated.
 */
export function proxiesIn(environment: Readonly<Record<string, string | undefined>>): Proxies | undefined {
  const http = readProxy(environment, 'HTTP_PROXY')
  const https = readProxy(environment, 'HTTPS_PROXY')
  return http || https ? { ...(http && { http }), ...(https && { https }) } : undefined
}

/**
 * A dispatcher that goes by the proxies: a tunnel (RFC 9110 section 9.3.6) for `https:`, the whole URL in the request for `http:`.
 *
 * @param limits `connectTimeout` holds for the proxy, for its answer to CONNECT, and for the handshake behind it, each.
 */
export function proxyAgent(
  { EnvHttpProxyAgent, Pool }: typeof import('undici'),
  { http = '', https = '' }: Proxies,
  limits: ConnectionLimits,
): Dispatcher {
  return new EnvHttpProxyAgent({
    ...limits,
    httpProxy: http,
    httpsProxy: https,
    // To the proxy itself: what counts there is how soon it answers to CONNECT, not how long a model thinks.
    clientFactory: (origin, given) => new Pool(origin, { ...given, headersTimeout: limits.connectTimeout }),
  })
}

function readProxy(environment: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const key = [name.toLowerCase(), name].find(one => environment[one])
  const url = key && environment[key]
  if (!url) return undefined
  if (URL.canParse(url) && PROTOCOLS.has(new URL(url).protocol)) return url
  throw configError(`${key} must be the URL of a proxy, http://host:port (https, socks5 and socks are allowed too)`)
}
