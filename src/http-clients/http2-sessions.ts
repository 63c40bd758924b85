import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'
import { createRequire, registerHooks } from 'node:module'
import { takeFrames } from '../callers/stack-frames.ts'
import { replaceMethod } from '../tools/replace-method.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import type { SentHeaders } from './sent-headers.ts'

/** A request about to be made on an HTTP/2 session. */
export interface Http2Adapter {
  readonly method: string
  readonly path: string
  readonly url: () => string
  readonly headers: () => SentHeaders
  /** undici makes it, which describes its requests itself. */
  readonly isOfUndici: () => boolean
  /** Makes it fail with this error in place of being sent. */
  block(error: Error): void
  /** Notified of the stream once it is there, in the same tick. */
  onStream(listener: (stream: ClientHttp2Stream) => void): void
}

type Listener = (adapter: Http2Adapter) => void
type Request = ClientHttp2Session['request']

const listeners = new Set<Listener>()
/** Puts `request` of the sessions back. */
let unpatch: (() => void) | undefined
/** Waits no longer for the module to be loaded. */
let stopAwaiting: (() => void) | undefined

/**
 * Sees the requests of `node:http2` before they are sent.
 *
 * Its diagnostics channels come too late to hold one back, so `request` of the sessions' prototype is wrapped, once, and
 * only when the application loads `node:http2`: loading it takes longer than all the rest of a watch. Requests that
 * undici makes over HTTP/2 are left to the channels of undici.
 *
 * @param listener Must not throw.
 * @param onFault Called with a fault of the watch itself; the module is loaded, and the request made, all the same.
 * @returns Stops calling the listener; with the last one the sessions are as Node made them.
 */
export function watchHttp2(listener: Listener, onFault: (fault: unknown) => void): () => void {
  listeners.add(listener)
  if (isLoaded()) patch(onFault)
  else awaitModule(onFault)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    stopAwaiting?.()
    stopAwaiting = undefined
    unpatch?.()
    unpatch = undefined
  }
}

function isLoaded(): boolean {
  const { moduleLoadList } = process as { moduleLoadList?: readonly string[] }
  return moduleLoadList?.includes('NativeModule http2') ?? true
}

function awaitModule(onFault: (fault: unknown) => void): void {
  if (stopAwaiting) return
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier === 'node:http2' || specifier === 'http2') runGuarded(() => patch(onFault), onFault)
      return next(specifier, context)
    },
  })
  stopAwaiting = () => hooks.deregister()
}

/** The class of client sessions is not exported; one that leads nowhere shows its prototype. */
function patch(onFault: (fault: unknown) => void): void {
  if (unpatch) return
  // Loading the module asks for the patch once more.
  unpatch = () => undefined
  const { connect } = createRequire(import.meta.url)('node:http2') as typeof import('node:http2')
  // Loaded with the first session: few processes that start have one.
  const { Duplex } = process.getBuiltinModule('node:stream')
  const nowhere = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
  const session = connect('http://localhost', { createConnection: () => nowhere })
  const prototype = Object.getPrototypeOf(session) as ClientHttp2Session
  session.on('error', () => undefined)
  session.destroy()
  const { request: original } = prototype
  const patched = wrapped(original, onFault)
  prototype.request = patched
  unpatch = () => {
    // Over a patch of another library ours stays, and has no listener.
    if (prototype.request === patched) prototype.request = original
  }
}

function wrapped(original: Request, onFault: (fault: unknown) => void): Request {
  return function request(this: ClientHttp2Session, ...given: Parameters<Request>): ClientHttp2Stream {
    const [headers = {}] = given
    const heard: ((stream: ClientHttp2Stream) => void)[] = []
    let error: Error | undefined
    const report = () => {
      const adapter: Http2Adapter = {
        ...targetOf(headers),
        url: () => urlOf(this, headers),
        headers: () => headersOf(headers),
        isOfUndici: () => takeFrames(request, 4).some(({ file }) => /[\\/]undici[\w-]*[\\/]/.test(file)),
        block: reason => {
          error = reason
        },
        onStream: listener => heard.push(listener),
      }
      for (const listener of listeners) listener(adapter)
    }
    if (listeners.size > 0) runGuarded(report, onFault)
    const stream = Reflect.apply(original, error ? waiting(this) : this, given) as ClientHttp2Stream
    if (error) failLater(stream, error)
    for (const listener of heard) listener(stream)
    return stream
  }
}

/** The session as it looks before it is connected, for good: a stream made on it waits, and nothing of it is written. */
function waiting(session: ClientHttp2Session): ClientHttp2Session {
  const same = { value: () => session }
  return Object.create(session, { connecting: { value: true }, once: same })
}

/** Later than all that a client does with promises until it listens to the stream it got. */
function failLater(stream: ClientHttp2Stream, error: Error): void {
  setImmediate(() => failStream(stream, error))
}

/**
 * Fails a stream at once: headers that still wait to be written are not written then. Its client hears of it later, when it
 * listens, and without `aborted`, which would come first and let some clients say that the server did it.
 */
export function failStream(stream: ClientHttp2Stream, error: Error): void {
  const { emit } = stream
  replaceMethod(stream, 'emit', function (this: ClientHttp2Stream, ...given: unknown[]) {
    if (given[0] === 'aborted') return false
    if (given[0] !== 'error' && given[0] !== 'close') return Reflect.apply(emit, this, given)
    setImmediate(() => Reflect.apply(emit, this, given))
    return true
  })
  stream.destroy(error)
}

/** Node takes the headers as an object, or as names and values in turn. */
function targetOf(headers: OutgoingHttpHeaders | readonly string[]): { method: string; path: string } {
  return { method: (headerOf(headers, ':method') ?? 'GET').toUpperCase(), path: headerOf(headers, ':path') ?? '/' }
}

function headerOf(headers: OutgoingHttpHeaders | readonly string[], name: string): string | undefined {
  return headersOf(headers)[name]
}

function headersOf(headers: OutgoingHttpHeaders | readonly string[]): SentHeaders {
  const pairs: (readonly [string, unknown])[] = Array.isArray(headers)
    ? headers.flatMap((name, index) => (index % 2 === 0 ? [[String(name), headers[index + 1]] as const] : []))
    : Object.entries(headers)
  return Object.fromEntries(pairs.flatMap(([name, value]) => (value === undefined ? [] : [[name.toLowerCase(), String(value)]])))
}

function urlOf(session: ClientHttp2Session, headers: OutgoingHttpHeaders | readonly string[]): string {
  const scheme = headerOf(headers, ':scheme') ?? (session.encrypted === true || hidden(session, 'protocol') === 'https:' ? 'https' : 'http')
  const authority = headerOf(headers, ':authority') ?? headerOf(headers, 'host') ?? hidden(session, 'authority') ?? 'unknown'
  return new URL(headerOf(headers, ':path') ?? '/', `${scheme}://${authority}`).href
}

/** What Node fills in for an absent header is kept under symbols of its own. */
function hidden(session: ClientHttp2Session, description: string): string | undefined {
  const key = Object.getOwnPropertySymbols(session).find(symbol => symbol.description === description)
  const value = key && (session as unknown as Record<symbol, unknown>)[key]
  return typeof value === 'string' ? value : undefined
}
