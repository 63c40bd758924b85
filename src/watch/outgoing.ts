import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { tapHttpBody, tapUndiciBody, type UndiciRequest } from './request-body.ts'

/** How a watched request ended, as far as can be seen without touching it. */
export interface OutgoingEnd {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** The start of the body of a refused answer, where the client lets it be seen. */
  readonly body?: string
  readonly error?: unknown
}

/** One request on its way out. */
export interface OutgoingRequest {
  readonly method: string
  /** Scheme, host, port and path. */
  readonly url: string
  /** Told once, when the request's body is complete; at most the first 64 KiB. */
  onBody(listener: (body: string) => void): void
  /** Told once, when the answer is complete or the request failed. */
  onEnd(listener: (end: OutgoingEnd) => void): void
}

const MOST_ANSWER = 64 * 1024

interface Following {
  readonly end: (end: OutgoingEnd) => void
  status?: number
  headers?: Record<string, string>
  body: string
}

/**
 * Sees every HTTP request that leaves this process, through the channels Node and undici publish themselves: global
 * fetch, every copy of undici, `node:http` and `node:https` with all that is built on them. Nothing is patched.
 *
 * @param listener Called synchronously where the request is made, so the stack is the caller's. What it throws is
 *   reported to `onFault`, never to the application.
 * @returns Stops watching.
 */
export function watchOutgoing(
  wanted: (method: string, path: string) => boolean,
  listener: (request: OutgoingRequest) => void,
  onFault: (fault: unknown) => void,
): () => void {
  const following = new WeakMap<object, Following>()
  const safely =
    <M>(handle: (message: M) => void) =>
    (message: unknown) => {
      try {
        handle(message as M)
      } catch (fault) {
        onFault(fault)
      }
    }

  const channels: [string, (message: unknown) => void][] = [
    [
      'undici:request:create',
      safely<{ request: UndiciRequest }>(({ request }) => {
        const method = request.method.toUpperCase()
        if (!wanted(method, String(request.path))) return
        listener({
          method,
          url: new URL(request.path, String(request.origin)).href,
          onBody: heard => tapUndiciBody(request, heard),
          onEnd: heard => following.set(request, { end: once(heard), body: '' }),
        })
      }),
    ],
    [
      'undici:request:headers',
      safely<{ request: object; response: { statusCode: number; headers: Buffer[] } }>(({ request, response }) => {
        const follow = following.get(request)
        if (!follow) return
        follow.status = response.statusCode
        follow.headers = pairs(response.headers)
      }),
    ],
    [
      'undici:request:bodyChunkReceived',
      safely<{ request: object; chunk: Buffer }>(({ request, chunk }) => {
        const follow = following.get(request)
        if (follow && (follow.status ?? 0) >= 400 && follow.body.length < MOST_ANSWER) follow.body += chunk.toString('utf8')
      }),
    ],
    ['undici:request:trailers', safely<{ request: object }>(({ request }) => finish(following.get(request)))],
    ['undici:request:error', safely<{ request: object; error: unknown }>(({ request, error }) => finish(following.get(request), error))],
    [
      'http.client.request.created',
      safely<{ request: ClientRequest }>(({ request }) => {
        if (!wanted(request.method, request.path)) return
        listener({
          method: request.method,
          url: new URL(request.path, `${request.protocol}//${request.getHeader('host') ?? request.host}`).href,
          onBody: heard => tapHttpBody(request, heard),
          onEnd: heard => {
            following.set(request, { end: once(heard), body: '' })
          },
        })
      }),
    ],
    [
      'http.client.response.finish',
      safely<{ request: ClientRequest; response: IncomingMessage }>(({ request, response }) => {
        following.get(request)?.end({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
        })
      }),
    ],
    [
      'http.client.request.error',
      safely<{ request: object; error: unknown }>(({ request, error }) => finish(following.get(request), error)),
    ],
  ]
  for (const [name, handle] of channels) diagnostics.subscribe(name, handle)
  return () => {
    for (const [name, handle] of channels) diagnostics.unsubscribe(name, handle)
  }
}

function finish(follow: Following | undefined, error?: unknown): void {
  if (!follow) return
  const { status, headers, body } = follow
  follow.end({ body, ...(status !== undefined && { status }), ...(headers && { headers }), ...(error !== undefined && { error }) })
}

function once<A>(listener: (value: A) => void): (value: A) => void {
  let told = false
  return value => {
    if (told) return
    told = true
    listener(value)
  }
}

/** undici publishes raw header names and values in turn. */
function pairs(raw: readonly Buffer[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let at = 0; at + 1 < raw.length; at += 2) headers[String(raw[at]).toLowerCase()] = String(raw[at + 1])
  return headers
}
