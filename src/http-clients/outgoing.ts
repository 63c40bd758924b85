import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { ClientHttp2Stream } from 'node:http2'
import { noteRequest } from '../callers/async-stack.ts'
import { objectAnnotations } from '../tools/object-annotations.ts'
import { blockHttp, type ClientAdapter, UndiciAdapter, UndiciShapes } from './client-adapter.ts'
import { failStream, type Http2Adapter, watchHttp2 } from './http2-sessions.ts'
import { type Guard, type ResponseTracker, trackResponse, trackStream } from './node-response.ts'
import { type OutgoingRequest, Redirects, type TrackingContext, WatchedRequest } from './outgoing-request.ts'
import { onHttpFirstChunk, tapHttpBody, type UndiciRequest } from './request-body.ts'
import { httpHeader, httpHeaders } from './sent-headers.ts'

const MOST = 500
/** A longer one is particular to its request. */
const LONGEST_PATH = 120

/** URLs put together from origin and path: a process asks the same few all the time, and parsing one costs microseconds. */
class RecentUrls {
  readonly #byOrigin = new Map<string, Map<string, URL>>()
  #size = 0

  /** @param path May be a whole URL, as proxies are asked. @throws {TypeError} when they make no URL. */
  of(origin: string, path: string): Readonly<URL> {
    const known = this.#byOrigin.get(origin)?.get(path)
    if (known) return known
    const url = new URL(path, origin)
    if (path.length <= LONGEST_PATH) this.#keep(origin, path, url)
    return url
  }

  #keep(origin: string, path: string, url: URL): void {
    if (this.#size >= MOST) {
      this.#byOrigin.clear()
      this.#size = 0
    }
    this.#size += 1
    const ofOrigin = this.#byOrigin.get(origin)
    if (ofOrigin) ofOrigin.set(path, url)
    else this.#byOrigin.set(origin, new Map([[path, url]]))
  }
}

interface WatchOutgoingOptions {
  /** Asked first, for every request of the process: a request that is not wanted costs no more than this. */
  wanted: (method: string, path: string) => boolean
  /** Called synchronously where the request is made, so the stack is the caller's. */
  listener: (request: OutgoingRequest) => void
  /** Notified of what the listeners throw; the application never is. */
  onFault: (fault: unknown) => void
  /** Takes a line about what cannot be seen or refused in this process. @default no line is written */
  onNotice?: (line: string) => void
}

/** Every piece of every answer of undici: subscribed to once a request is followed whose pieces are not heard otherwise. */
const PIECES = 'undici:request:bodyChunkReceived'

/**
 * Sees every HTTP request that leaves this process, through the channels Node and undici publish themselves: global
 * fetch, every copy of undici, `node:http` and `node:https` with all that is built on them. Nothing global is patched but
 * the sessions of `node:http2`, whose channels come when it is too late to hold a request back.
 *
 * @returns Stops watching.
 */
export function watchOutgoing({ wanted, listener, onFault, onNotice = () => undefined }: WatchOutgoingOptions): () => void {
  const trackers = objectAnnotations<ResponseTracker>()
  const redirects = new Redirects()
  const urls = new RecentUrls()
  const shapes = new UndiciShapes(onNotice)
  const report = reporter(onFault)
  const safely: Guard = handle => message => report(handle, message)

  const hearPiece = safely(message => {
    const { request, chunk } = message as { request: object; chunk: Uint8Array }
    const tracker = trackers.of(request)
    if (tracker && !tracker.isHeardDirectly) tracker.chunk(chunk)
  })
  let hearsPieces = false
  const hearPieces = () => {
    if (hearsPieces) return
    hearsPieces = true
    diagnostics.subscribe(PIECES, hearPiece)
  }
  const surroundings = { trackers, redirects, safely, report, hearPieces }
  const follow = (adapter: ClientAdapter) => listener(new WatchedRequest(adapter, surroundings))

  const channels: Record<string, (message: unknown) => void> = {
    'undici:request:create': safely(message => {
      const { request } = message as { request: UndiciRequest }
      const method = request.method.toUpperCase()
      noteRequest()
      if (!wanted(method, request.path)) return
      follow(new UndiciAdapter(request, method, urls.of(String(request.origin), request.path).href, shapes))
    }),
    'undici:request:headers': safely(message => {
      const { request, response } = message as { request: object; response: { statusCode: number; headers: readonly Buffer[] } }
      trackers.of(request)?.head(response.statusCode, response.headers, pairs)
    }),
    'undici:request:trailers': safely(message => trackers.of((message as { request: object }).request)?.end()),
    'undici:request:error': safely(endOfFailed),
    'http.client.request.created': safely(message => {
      const { request } = message as { request: ClientRequest }
      if (!wanted(request.method, request.path)) return
      follow({
        identity: request,
        method: request.method,
        url: urls.of(`${request.protocol}//${hostOf(request)}`, request.path).href,
        body: undefined,
        headers: () => httpHeaders(request),
        header: name => httpHeader(request, name),
        tap: (heard, decision) => tapHttpBody(request, heard, decision, () => lengthOf(httpHeader(request, 'content-length'))),
        tapStart: heard => onHttpFirstChunk(request, heard),
        block: error => {
          blockHttp(request, error)
          request.once('close', () => trackers.of(request)?.end(error))
          return true
        },
      })
    }),
    // Published when the head of the answer is there, whatever its name says.
    'http.client.response.finish': safely(message => {
      const { request, response } = message as { request: ClientRequest; response: IncomingMessage }
      const tracker = trackers.of(request)
      if (tracker) trackResponse(tracker, response, safely)
    }),
    'http.client.request.error': safely(endOfFailed),
  }
  function endOfFailed(message: unknown): void {
    const { request, error } = message as { request: object; error: unknown }
    trackers.of(request)?.end(error)
  }

  const stopHttp2 = watchHttp2(
    safely((adapter: Http2Adapter) => {
      const { method, path, url, headers, block, onStream } = adapter
      if (!wanted(method, path) || adapter.isOfUndici()) return
      const identity = {}
      let made: ClientHttp2Stream | undefined
      let tapStream: ((stream: ClientHttp2Stream) => void) | undefined
      onStream(
        safely(stream => {
          made = stream
          tapStream?.(stream)
          const tracker = trackers.of(identity)
          if (tracker) trackStream(tracker, stream, safely)
        }),
      )
      follow({
        identity,
        method,
        url: url(),
        body: undefined,
        headers,
        header: name => headers()[name],
        block: error => {
          block(error)
          if (made) failStream(made, error)
          return true
        },
        hear: tracker => {
          if (made) trackStream(tracker, made, safely)
        },
        tap: (heard, decision) => {
          let soFar: () => void = () => undefined
          tapStream = stream => {
            soFar = tapHttpBody(stream, heard, decision, () => lengthOf(headers()['content-length']))
          }
          return () => soFar()
        },
      })
    }),
    onFault,
  )
  for (const [name, handle] of Object.entries(channels)) diagnostics.subscribe(name, handle)
  return () => {
    stopHttp2()
    for (const [name, handle] of Object.entries(channels)) diagnostics.unsubscribe(name, handle)
    diagnostics.unsubscribe(PIECES, hearPiece)
  }
}

/** Node turns what a subscriber throws into an uncaught exception, and a listener runs within the application's own calls. */
function reporter(onFault: (fault: unknown) => void): TrackingContext['report'] {
  return (handle, message) => {
    try {
      handle(message)
    } catch (fault) {
      try {
        onFault(fault)
      } catch {
        // A caller that wants to be notified of faults must not have one; no one else can be notified.
      }
    }
  }
}

/** Headers given as an array are written at once, and `getHeader` does not know them; the port is in none of the fields. */
function hostOf(request: ClientRequest): string {
  const { _header: written } = request as { _header?: unknown }
  const host = request.getHeader('host') ?? (typeof written === 'string' ? /^host:\s*(\S+)/im.exec(written)?.[1] : undefined)
  return typeof host === 'string' ? host : request.host
}

function lengthOf(header: string | undefined): number | undefined {
  return header === undefined || header.trim() === '' ? undefined : Number(header)
}

/** undici publishes raw header names and values in turn. */
function pairs(raw: readonly Buffer[]): Record<string, string> {
  const headers: [string, string][] = []
  for (let at = 0; at + 1 < raw.length; at += 2) headers.push([String(raw[at]).toLowerCase(), String(raw[at + 1])])
  return Object.fromEntries(headers)
}
