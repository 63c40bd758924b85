import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { ClientHttp2Stream } from 'node:http2'
import { privateNotes } from '../tools/private-notes.ts'
import type { RawFrame } from '../tools/stack-frames.ts'
import { followAnswer, followStream, type Guard } from './answers.ts'
import { blockHttp, blockUndici, drain } from './block.ts'
import { hearHttpStart, hearUndiciStart, type StartListener } from './body-start.ts'
import { entryNow, forgetEntry, type NotedFrames, noteCausalFrames, noteRequest } from './causal-stack.ts'
import { Following, type FollowOptions, type HeadListener, type OutgoingEnd } from './following.ts'
import { failStream, type Http2Departure, watchHttp2 } from './http2-sessions.ts'
import { RecentUrls } from './recent-urls.ts'
import { Redirects } from './redirects.ts'
import { type BodyListener, MOST_BYTES, type Refusal, tapHttpBody, tapUndiciBody, type UndiciRequest } from './request-body.ts'
import { httpHeader, httpHeaders, type SentHeaders, undiciHeader, undiciHeaders } from './sent-headers.ts'
import { hearUndiciAnswer } from './undici-answer.ts'

/** One request on its way out. */
export interface OutgoingRequest {
  /** Stands for the request itself, the same for everybody who watches it. */
  readonly identity: object
  readonly method: string
  /** Scheme, host, port and path. */
  readonly url: string
  /** The whole body, where it is bytes at hand: what fetch sends, or writes come for, is not. */
  readonly body: Uint8Array | undefined
  /** The headers as they stand at this moment: some clients set theirs until the body is written. */
  headers(): SentHeaders
  /** One of them; `name` is in lower case. */
  header(name: string): string | undefined
  /**
   * The causal stack: the caller of `above`, behind it the code that entered the client library or made the request that
   * was redirected here. To be taken synchronously.
   */
  frames(above: (...args: never[]) => unknown): readonly RawFrame[]
  /** The same for whoever may never read it; that costs much less. @param most Frames noted, those of the library apart. @default 160 */
  noteFrames(above: (...args: never[]) => unknown, most?: number): NotedFrames
  /**
   * Keeps it from being sent: the application gets this error as one of its connection. Only at once, and before `onBody`;
   * or when the body is told, where `onBody` holds it back.
   */
  block(error: Error): void
  /** Told once, of the first piece of the body; for requests whose whole body is nobody's business. Not besides `onBody`. */
  onBodyStart(listener: StartListener): void
  /**
   * Told once, when the request's body is complete; `undefined` for one that cannot be heard or is over 64 KiB.
   *
   * @param options.holds Nothing of a body that can be held back is sent before the listener was told. @default false
   */
  onBody(listener: BodyListener, options?: { holds?: boolean }): void
  /** Told once, after the body, when the answer is complete or the request failed. */
  onEnd(listener: (end: OutgoingEnd) => void, options?: FollowOptions): void
}

/** What the kinds of requests are taken apart into. */
interface Departure {
  readonly identity: object
  readonly method: string
  readonly url: string
  readonly body: Uint8Array | undefined
  readonly headers: () => SentHeaders
  readonly header: (name: string) => string | undefined
  readonly tap: (heard: BodyListener, refusal?: Refusal) => () => void
  readonly tapStart?: (heard: StartListener) => void
  readonly block: (error: Error) => void
  /** Hears the answer's body where no channel tells of it. */
  readonly hear?: (followed: Following) => void
  /** Reads what would have been sent, where nobody else does. */
  readonly drain?: () => Promise<void>
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
 * Sees every HTTP request that leaves this process, through the channels Node and undici publish themselves: global
 * fetch, every copy of undici, `node:http` and `node:https` with all that is built on them. Nothing global is patched but
 * the sessions of `node:http2`, whose channels come when it is too late to hold a request back.
 *
 * @returns Stops watching.
 */
export function watchOutgoing({ wanted, listener, onFault }: WatchOutgoingOptions): () => void {
  const following = privateNotes<Following>()
  const redirects = new Redirects()
  const urls = new RecentUrls()
  const safely = guard(onFault)

  /** Hands a wanted request to the listener, with what it takes to hear its body and follow it. */
  const follow = ({ tap, tapStart, block, hear, drain: drained, ...departure }: Departure) => {
    const { identity, url } = departure
    let bodySoFar: () => void = () => undefined
    let unsent: Promise<void> | undefined
    let refusal: Error | undefined
    const before = redirects.take(url)
    let noted = before
    let isNoted = false
    const entry = entryNow()
    const noteHere = (above: (...args: never[]) => unknown, most?: number): NotedFrames => {
      if (!noted || !isNoted) noted = noteCausalFrames(above, most === undefined ? { before } : { before, most })
      isNoted = true
      return noted
    }
    listener({
      ...departure,
      frames: above => noteHere(above)(),
      noteFrames: noteHere,
      block: error => {
        refusal = error
        block(error)
      },
      onBodyStart: heard => tapStart?.(safely(heard)),
      onBody: (heard, { holds = false } = {}) => {
        bodySoFar = tap(safely(heard), holds ? () => refusal : undefined)
        if (refusal) unsent = drained?.()
      },
      onEnd: (told, options) => {
        const tell = safely(told)
        const tellBoth = (end: OutgoingEnd) => {
          bodySoFar()
          tell(end)
          // Clients hold on to a request long after it is over, and the collector would have to keep all this with it.
          following.drop(identity)
          if (end.status !== undefined && end.status < 300) forgetEntry(entry)
        }
        const tellLate = (end: OutgoingEnd) => void unsent?.then(() => tellBoth(end))
        const headTold: HeadListener = (status, readHeaders) => {
          if (status >= 300 && status < 400 && noted) redirects.note(url, status, readHeaders().location, noted)
        }
        const followed = new Following(unsent ? tellLate : tellBoth, headTold, options)
        following.put(identity, followed)
        hear?.(followed)
      },
    })
  }

  const channels: Record<string, (message: unknown) => void> = {
    'undici:request:create': safely(message => {
      const { request } = message as { request: UndiciRequest }
      const method = request.method.toUpperCase()
      noteRequest()
      if (!wanted(method, request.path)) return
      follow({
        identity: request,
        method,
        url: urls.of(String(request.origin), request.path).href,
        body: request.body instanceof Uint8Array ? request.body : undefined,
        headers: () => undiciHeaders(request),
        header: name => undiciHeader(request, name),
        tap: (heard, refusal) => tapUndiciBody(request, heard, refusal),
        tapStart: heard => hearUndiciStart(request, heard),
        block: error => blockUndici(request, error),
        hear: followed => {
          const chunk = safely((piece: unknown) => piece instanceof Uint8Array && followed.chunk(piece))
          followed.isHeardDirectly = hearUndiciAnswer(request, chunk)
        },
        drain: () => drain(request, MOST_BYTES),
      })
    }),
    'undici:request:headers': safely(message => {
      const { request, response } = message as { request: object; response: { statusCode: number; headers: readonly Buffer[] } }
      following.of(request)?.head(response.statusCode, () => pairs(response.headers))
    }),
    'undici:request:bodyChunkReceived': safely(message => {
      const { request, chunk } = message as { request: object; chunk: Uint8Array }
      const followed = following.of(request)
      if (followed && !followed.isHeardDirectly) followed.chunk(chunk)
    }),
    'undici:request:trailers': safely(message => following.of((message as { request: object }).request)?.end()),
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
        tap: (heard, refusal) => tapHttpBody(request, heard, refusal),
        tapStart: heard => hearHttpStart(request, heard),
        block: error => {
          blockHttp(request, error)
          request.once('close', () => following.of(request)?.end(error))
        },
      })
    }),
    // Published when the head of the answer is there, whatever its name says.
    'http.client.response.finish': safely(message => {
      const { request, response } = message as { request: ClientRequest; response: IncomingMessage }
      const followed = following.of(request)
      if (followed) followAnswer(followed, response, safely)
    }),
    'http.client.request.error': safely(endOfFailed),
  }
  function endOfFailed(message: unknown): void {
    const { request, error } = message as { request: object; error: unknown }
    following.of(request)?.end(error)
  }

  const stopHttp2 = watchHttp2(
    safely((departure: Http2Departure) => {
      const { method, path, url, headers, block, onStream } = departure
      if (!wanted(method, path) || departure.isOfUndici()) return
      const identity = {}
      let made: ClientHttp2Stream | undefined
      let tapStream: ((stream: ClientHttp2Stream) => void) | undefined
      onStream(
        safely(stream => {
          made = stream
          tapStream?.(stream)
          const followed = following.of(identity)
          if (followed) followStream(followed, stream, safely)
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
        },
        hear: followed => {
          if (made) followStream(followed, made, safely)
        },
        tap: (heard, refusal) => {
          let soFar: () => void = () => undefined
          tapStream = stream => {
            soFar = tapHttpBody(stream, heard, refusal)
          }
          return () => soFar()
        },
      })
    }),
  )
  for (const [name, handle] of Object.entries(channels)) diagnostics.subscribe(name, handle)
  return () => {
    stopHttp2()
    for (const [name, handle] of Object.entries(channels)) diagnostics.unsubscribe(name, handle)
  }
}

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
