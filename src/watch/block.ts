import type { ClientRequest } from 'node:http'
import { GatewayError } from '../domain/gateway-error.ts'
import type { UndiciRequest } from './request-body.ts'

/**
 * The error an application gets in place of an answer, one for each request: clients write into the errors they hand on.
 *
 * @param caller Who asked, as telemetry names it.
 */
export function bypassError(url: URL, caller: string): GatewayError {
  return new GatewayError(
    'GATEWATCH_BYPASS',
    `the token request to ${url.host}${url.pathname} was not sent: it does not come through the refresh gate (asked for by ${caller}); send it through the gate, or set the policy to observe`,
    { next: 'fix_configuration' },
  )
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
 * Reads a body that nobody will send, so that it can be heard all the same.
 *
 * Only one whose length is known, and is a token request's: fetch goes on reading a stream that has no end, and shows
 * nothing of it, once its request has failed.
 */
export async function drain({ body, contentLength }: UndiciRequest, mostBytes: number): Promise<void> {
  if (typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body) || 'pipe' in body) return
  if (typeof contentLength !== 'number' || contentLength > mostBytes) return
  try {
    for await (const _chunk of body as AsyncIterable<unknown>);
  } catch {
    // The request fails anyway, and with our error.
  }
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
