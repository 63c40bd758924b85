import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Request, RequestHandler } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'
import { isLoopback } from '../settings/options.ts'
import { pinSecret } from '../tools/secret-registry.ts'
import { answerError } from './error-answer.ts'
import { hostNameOf, type InboundHandler } from './inbound-request.ts'
import { protocolOf } from './provider-endpoints.ts'

/** The keys clients must show. Where there are none, a request is trusted that comes straight from this machine. */
export class InboundKeys {
  readonly #digests: readonly Buffer[]

  constructor(keys: readonly string[]) {
    for (const key of keys) pinSecret(key)
    this.#digests = keys.map(digest)
  }

  get isRequired(): boolean {
    return this.#digests.length > 0
  }

  /** Says whether the request shows one of the keys in a header. */
  admits({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
    return this.admitsKey(/^Bearer\s+(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? headers['x-api-key'])
  }

  /** Says whether `shown` is one of the keys. Every key is compared, in constant time. */
  admitsKey(shown: unknown): boolean {
    if (typeof shown !== 'string') return false
    const shownDigest = digest(shown)
    let found = false
    for (const known of this.#digests) found = timingSafeEqual(known, shownDigest) || found
    return found
  }
}

/** What proxies write into a request they pass on. Names in lower case. */
const PROXY_HEADERS = new Set(['forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip'])
const PROXY_HEADER_PREFIXES = ['x-forwarded-', 'x-original-forwarded-', 'x-envoy-external-']

/**
 * Says whether a request comes straight from this machine: from a loopback address, to a loopback name, and past no proxy.
 *
 * A proxy on this machine in its default form (nginx's `proxy_pass` alone) sends loopback as name and no header of its own.
 * Its requests cannot be distinguished from local ones. Where such a proxy stands, keys must be configured.
 */
export function isFromThisMachine({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): boolean {
  return isOfLoopback(socket.remoteAddress ?? '') && isLoopback(hostNameOf({ headers })) && !hasPassedProxy(headers)
}

function isOfLoopback(address: string): boolean {
  return isLoopback(address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address)
}

function hasPassedProxy(headers: IncomingMessage['headers']): boolean {
  for (const name in headers)
    if (PROXY_HEADERS.has(name) || (name.startsWith('x-') && PROXY_HEADER_PREFIXES.some(prefix => name.startsWith(prefix)))) return true
  return false
}

/**
 * Lets clients through: with a key where keys are configured, else from this machine and not from a page of another site.
 * A page in a browser on this machine reaches loopback too, under a name of its own (DNS rebinding) or with a plain form
 * post, and would call providers on the operator's account.
 */
export function requireClient(keys: InboundKeys): InboundHandler {
  return (request, response, next) => {
    if (keys.isRequired ? keys.admits(request) : isFromThisMachine(request) && !isOfForeignPage(request.headers)) {
      next()
      return
    }
    const message = keys.isRequired
      ? "show one of the gateway's keys as Bearer token or x-api-key"
      : 'without listen.keysEnv the gateway answers only to this machine by a loopback name (127.0.0.1, localhost, [::1]), past no proxy, and to no page of another origin'
    answerError(response, new GatewayError('GW_UNAUTHORIZED', message, { next: 'fix_request' }), { protocol: protocolOf(request) })
  }
}

interface RequireOperatorOptions {
  /** Another way to show that one has a key: the session of a browser. */
  readonly sessions?: { admits(request: Pick<Request, 'headers'>): boolean }
  /** Answers a browser that shows no key. */
  readonly offerSignIn?: RequestHandler
}

/** Lets operators through: with a key where keys are configured, else from this machine (see `isFromThisMachine`). */
export function requireOperator(keys: InboundKeys, { sessions, offerSignIn }: RequireOperatorOptions = {}): RequestHandler {
  return (request, response, next) => {
    if (keys.isRequired ? keys.admits(request) || sessions?.admits(request) === true : isFromThisMachine(request)) next()
    else if (offerSignIn && keys.isRequired && request.accepts('json', 'html') === 'html') offerSignIn(request, response, next)
    else {
      const message = keys.isRequired
        ? "operators' pages answer to one of the gateway's keys as Bearer token or x-api-key"
        : "without listen.keysEnv operators' pages answer only to this machine by a loopback name, past no proxy"
      answerError(response, new GatewayError('GW_UNAUTHORIZED', message, { next: 'fix_request' }))
    }
  }
}

/**
 * Turns away what a page of another site sends. Reading is harmless, since such a page never sees the answer; an endpoint
 * that does something must not be set off by a form in a browser.
 */
export function refuseOtherSites(): RequestHandler {
  return ({ headers }, response, next) => {
    if (!isOfForeignPage(headers)) next()
    else
      answerError(response, new GatewayError('GW_UNAUTHORIZED', 'a page of another site may not ask for this', { next: 'fix_request' }), {
        status: 403,
      })
  }
}

/**
 * Says whether a page of another origin sent a request; another port of this machine is another origin. Browsers say it in
 * `Sec-Fetch-Site`, which no page can set, and those that do not send that header in `Origin` or `Referer`.
 */
function isOfForeignPage({ 'sec-fetch-site': site, origin, referer, host }: IncomingMessage['headers']): boolean {
  // Not compared with `Host` as well: a proxy may have put its own there.
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  return [origin, referer].some(address => address !== undefined && hostOf(address) !== host)
}

/** Host and port of an address; its scheme is left aside, since it is another one behind a proxy that ends TLS. */
function hostOf(address: string): string | undefined {
  return URL.canParse(address) ? new URL(address).host : undefined
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
