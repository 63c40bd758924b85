import { writeSync } from 'node:fs'
import type { ClientRequest } from 'node:http'
import { GatewayError } from '../domain/gateway-error.ts'
import type { UndiciRequest } from './request-body.ts'

/**
 * The error an application gets in place of an answer, one for each request: clients write into the errors they hand on.
 *
 * @param caller Who asked, as telemetry names it.
 * @param isGateSeen Whether the gate has been seen in this process; `false` may mean that its name is wrong. @default true
 */
export function bypassError(url: URL, caller: string, isGateSeen = true): GatewayError {
  return new GatewayError(
    'GATEWATCH_BYPASS',
    `the token request to ${url.host}${url.pathname} was not sent: it does not come through the refresh gate (asked for by ${caller})${isGateSeen ? '' : '; that gate has not been seen in this process yet'}; send it through the gate, or set the policy to observe`,
    { next: 'fix_configuration' },
  )
}

let hasSaidRefusal = false

/** Says on stderr, for the first request of this process that is refused, which one and why. Later ones are recorded only. */
export function sayRefusal({ message }: GatewayError): void {
  if (hasSaidRefusal) return
  hasSaidRefusal = true
  try {
    writeSync(2, `gatewatch: ${message} (said once; every refused request is recorded with the outcome blocked)\n`)
  } catch {
    // A closed stderr is no reason to break the application.
  }
}

/**
 * Keeps an undici request from being written, by a start that fails: undici ends such a request as one whose connection
 * failed, and before a byte of it is written. So do all versions from 6 on, the ones built into Node, HTTP/2 and proxies
 * included; the connection itself may be opened. Where a later undici starts requests otherwise, `error` still ends it.
 */
export function blockUndici(request: UndiciRequest, error: Error): void {
  const start = () => {
    throw error
  }
  Object.assign(request, { error, onConnect: start, onRequestStart: start })
}

/**
 * Keeps a `node:http` request from being written: what the application writes goes nowhere, and the request fails a
 * moment later as one does that cannot connect.
 *
 * Not at once: some clients pipe a body into the request they just made, and a destroyed one cannot be piped to.
 */
export function blockHttp(request: ClientRequest, error: Error): void {
  const silent = {
    write: () => true,
    end: () => request,
    flushHeaders: () => undefined,
    // What Node itself calls for the first write.
    _implicitHeader: () => undefined,
  }
  Object.assign(request, silent)
  process.nextTick(() => request.destroy(error))
}
