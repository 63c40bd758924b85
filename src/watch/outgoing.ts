import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Following, type OutgoingEnd } from './following.ts'
import { type BodyListener, tapHttpBody, tapUndiciBody, type UndiciRequest } from './request-body.ts'

/** One request on its way out. */
export interface OutgoingRequest {
  /** Stands for the request itself, the same for everybody who watches it. */
  readonly identity: object
  readonly method: string
  /** Scheme, host, port and path. */
  readonly url: string
  /** Told once, when the request's body is complete; `undefined` for one that cannot be heard or is over 64 KiB. */
  onBody(listener: BodyListener): void
  /** Told once, after the body, when the answer is complete or the request failed. */
  onEnd(listener: (end: OutgoingEnd) => void): void
}

export interface WatchOutgoingOptions {
  /** Asked first, for every request of the process: whoever is not wanted costs no more than this. */
  wanted: (method: string, path: string) => boolean
  /** Called synchronously where the request is made, so the stack is the caller's. */
  listener: (request: OutgoingRequest) => void
  /** Told of what the listeners throw; the application never is. */
  onFault: (fault: unknown) => void
}

/**
 * Sees every HTTP/1 request that leaves this process, through the channels Node and undici publish themselves: global
 * fetch, every copy of undici, `node:http` and `node:https` with all that is built on them. Nothing global is patched.
 *
 * @returns Stops watching.
 */
export function watchOutgoing({ wanted, listener, onFault }: WatchOutgoingOptions): () => void {
  const following = new WeakMap<object, Following>()
  const safely = guard(onFault)

  /** Hands a wanted request to the listener, with what it takes to hear its body and follow it. */
  const follow = (identity: object, method: string, url: string, tap: (heard: BodyListener) => () => void) => {
    let bodySoFar: () => void = () => undefined
    listener({
      identity,
      method,
      url,
      onBody: heard => {
        bodySoFar = tap(safely(heard))
      },
      onEnd: told => {
        following.set(identity, new Following(safely(told), () => bodySoFar()))
      },
    })
  }

  const channels: Record<string, (message: unknown) => void> = {
    'undici:request:create': safely(message => {
      const { request } = message as { request: UndiciRequest }
      const method = request.method.toUpperCase()
      if (!wanted(method, request.path)) return
      follow(request, method, new URL(request.path, request.origin).href, heard => tapUndiciBody(request, heard))
    }),
    'undici:request:headers': safely(message => {
      const { request, response } = message as { request: object; response: { statusCode: number; headers: readonly Buffer[] } }
      following.get(request)?.head(response.statusCode, pairs(response.headers))
    }),
    'undici:request:bodyChunkReceived': safely(message => {
      const { request, chunk } = message as { request: object; chunk: Uint8Array }
      following.get(request)?.chunk(chunk)
    }),
    'undici:request:trailers': safely(message => following.get((message as { request: object }).request)?.end()),
    'undici:request:error': safely(endOfFailed),
    'http.client.request.created': safely(message => {
      const { request } = message as { request: ClientRequest }
      if (!wanted(request.method, request.path)) return
      follow(request, request.method, new URL(request.path, `${request.protocol}//${hostOf(request)}`).href, heard =>
        tapHttpBody(request, heard),
      )
    }),
    // Published when the head of the answer is there, whatever its name says.
    'http.client.response.finish': safely(message => {
      const { request, response } = message as { request: ClientRequest; response: IncomingMessage }
      const followed = following.get(request)
      if (followed) followAnswer(followed, response, safely)
    }),
    'http.client.request.error': safely(endOfFailed),
  }
  function endOfFailed(message: unknown): void {
    const { request, error } = message as { request: object; error: unknown }
    following.get(request)?.end(error)
  }

  for (const [name, handle] of Object.entries(channels)) diagnostics.subscribe(name, handle)
  return () => {
    for (const [name, handle] of Object.entries(channels)) diagnostics.unsubscribe(name, handle)
  }
}

type Guard = <M>(handle: (message: M) => void) => (message: M) => void

/** Node turns what a subscriber throws into an uncaught exception, and a listener runs within the application's own calls. */
function guard(onFault: (fault: unknown) => void): Guard {
  return handle => message => {
    try {
      handle(message)
    } catch (fault) {
      try {
        onFault(fault)
      } catch {
        // Whoever wants to be told of faults must not have one; there is nobody left to tell.
      }
    }
  }
}

/** Hears the answer as the parser hands it over; how, when and whether the application reads it stays its own affair. */
function followAnswer(followed: Following, response: IncomingMessage, safely: Guard): void {
  followed.head(response.statusCode ?? 0, joined(response.headers))
  const { push } = response
  const hear = safely((chunk: unknown) => {
    if (chunk === null) followed.end()
    else if (chunk instanceof Uint8Array) followed.chunk(chunk)
  })
  response.push = function (this: IncomingMessage, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(push, this, given)
  } as typeof push
  response.once(
    'close',
    safely(() => followed.end(response.errored ?? undefined)),
  )
}

/** Headers given as an array are written at once, and `getHeader` does not know them; the port is in none of the fields. */
function hostOf(request: ClientRequest): string {
  const { _header: written } = request as { _header?: unknown }
  const host = request.getHeader('host') ?? (typeof written === 'string' ? /^host:\s*(\S+)/im.exec(written)?.[1] : undefined)
  return typeof host === 'string' ? host : request.host
}

/** undici publishes raw header names and values in turn. */
function pairs(raw: readonly Buffer[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let at = 0; at + 1 < raw.length; at += 2) headers[String(raw[at]).toLowerCase()] = String(raw[at + 1])
  return headers
}

function joined(headers: IncomingMessage['headers']): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
