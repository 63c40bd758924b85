import { createHash, timingSafeEqual } from 'node:crypto'
import type { Request, RequestHandler } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'
import { isLoopback } from '../options.ts'
import { answerError } from './error-answer.ts'

/** The keys clients must show; without any, whoever reaches the port may call. */
export class InboundKeys {
  readonly #digests: readonly Buffer[]

  constructor(keys: readonly string[]) {
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

/** Lets clients through that show a key, where keys are configured. */
export function requireKey(keys: InboundKeys): RequestHandler {
  return (request, response, next) => {
    if (!keys.isRequired || keys.admits(request)) next()
    else
      answerError(
        response,
        new GatewayError('GW_UNAUTHORIZED', "show one of the gateway's keys as Bearer token or x-api-key", { next: 'fix_request' }),
      )
  }
}

/**
 * Lets operators through: with a key, or from this machine by a loopback name. The name is checked too, since a page in
 * an operator's browser can reach loopback under a name of its own (DNS rebinding).
 */
export function requireOperator(keys: InboundKeys): RequestHandler {
  return (request, response, next) => {
    const isLocal = isLoopback((request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')) && isLoopback(request.hostname)
    if (isLocal || (keys.isRequired && keys.admits(request))) next()
    else
      answerError(
        response,
        new GatewayError('GW_UNAUTHORIZED', "operators' pages answer on loopback, or with one of the gateway's keys", {
          next: 'fix_request',
        }),
      )
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
