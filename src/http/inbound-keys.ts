import { createHash, timingSafeEqual } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'
import { isLoopback } from '../options.ts'
import { hideText } from '../tools/hidden-texts.ts'
import { answerError } from './error-answer.ts'
import { protocolOf } from './provider-endpoints.ts'

/** The keys clients must show; without any, whoever reaches the port may call. */
export class InboundKeys {
  readonly #digests: readonly Buffer[]

  constructor(keys: readonly string[]) {
    for (const key of keys) hideText(key)
    this.#digests = keys.map(digest)
  }

  get isRequired(): boolean {
    return this.#digests.length > 0
  }

  /** Says whether the request shows one of the keys. Every key is compared, in constant time. */
  admits({ headers }: Pick<Request, 'headers'>): boolean {
    const shown = /^Bearer\s+(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? headers['x-api-key']
    if (typeof shown !== 'string') return false
    const shownDigest = digest(shown)
    let found = false
    for (const known of this.#digests) found = timingSafeEqual(known, shownDigest) || found
    return found
  }
}

/**
 * Lets clients through: with a key where keys are configured, else by a loopback name and not from a page of another
 * site. A page in somebody's browser reaches loopback too, under a name of its own (DNS rebinding) or with a plain form
 * post, and would call providers on the operator's account.
 */
export function requireClient(keys: InboundKeys): RequestHandler {
  return (request, response, next) => {
    if (keys.isRequired ? keys.admits(request) : isLoopback(request.hostname) && request.headers['sec-fetch-site'] !== 'cross-site') {
      next()
      return
    }
    const message = keys.isRequired
      ? "show one of the gateway's keys as Bearer token or x-api-key"
      : 'without listen.keysEnv the gateway answers to loopback names (127.0.0.1, localhost, [::1]) and to no page of another site'
    answerError(response, new GatewayError('GW_UNAUTHORIZED', message, { next: 'fix_request' }), { protocol: protocolOf(request) })
  }
}

export interface RequireOperatorOptions {
  /** Another way to show that one has a key: the session of a browser. */
  readonly sessions?: { admits(request: Pick<Request, 'headers'>): boolean }
  /** Answers somebody without a key who came with a browser. */
  readonly offerSignIn?: RequestHandler
}

/** Lets operators through: with a key, or from this machine by a loopback name (see `requireClient`). */
export function requireOperator(keys: InboundKeys, { sessions, offerSignIn }: RequireOperatorOptions = {}): RequestHandler {
  return (request, response, next) => {
    if (isLocal(request) || (keys.isRequired && (keys.admits(request) || sessions?.admits(request) === true))) next()
    else if (offerSignIn && keys.isRequired && request.accepts('json', 'html') === 'html') offerSignIn(request, response, next)
    else
      answerError(
        response,
        new GatewayError('GW_UNAUTHORIZED', "operators' pages answer on loopback, or with one of the gateway's keys", {
          next: 'fix_request',
        }),
      )
  }
}

/** Comes from this machine, and by a loopback name. */
function isLocal({ socket, hostname }: Request): boolean {
  return isLoopback((socket.remoteAddress ?? '').replace(/^::ffff:/, '')) && isLoopback(hostname)
}

/**
 * Turns away what a page of another site sends. Reading is harmless, since such a page never sees the answer; an endpoint
 * that does something must not be set off by a form in somebody's browser.
 */
export function refuseOtherSites(): RequestHandler {
  return ({ headers }, response, next) => {
    const site = headers['sec-fetch-site']
    const isOwn = (site === undefined || site === 'same-origin' || site === 'none') && isOwnOrigin(headers)
    if (isOwn) next()
    else
      answerError(response, new GatewayError('GW_UNAUTHORIZED', 'a page of another site may not ask for this', { next: 'fix_request' }), {
        status: 403,
      })
  }
}

/** The scheme is left aside: behind a proxy that ends TLS it is another one. */
function isOwnOrigin({ origin, host }: Request['headers']): boolean {
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host)
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
