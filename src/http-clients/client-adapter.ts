import { writeSync } from 'node:fs'
import type { ClientRequest } from 'node:http'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Guard, ResponseTracker } from './node-response.ts'
import {
  type BodyDecision,
  type BodyListener,
  type FirstChunkListener,
  onUndiciFirstChunk,
  tapUndiciBody,
  type UndiciRequest,
} from './request-body.ts'
import { type SentHeaders, undiciHeader, undiciHeaders } from './sent-headers.ts'

/** Methods of undici's internal request: of version 5 to 7 and of the copies in Node up to 24, and of version 8. */
const KNOWN_METHODS = [
  ['onConnect', 'onHeaders', 'onData', 'onComplete', 'onError'],
  ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd', 'onResponseError'],
] as const

/**
 * Decides whether the internal request of undici, which `undici:request:create` publishes, is one whose fields may be
 * overwritten: `body` to hear what is sent, `onConnect` or `onRequestStart` to keep it from being sent, `onData` to hear
 * the answer. undici promises none of them. Where a later version differs, nothing is written and one notice says so.
 */
export class UndiciShapes {
  readonly #byClass = new WeakMap<object, boolean>()
  readonly #onNotice: (line: string) => void
  #isNoticed = false

  /** @param onNotice Takes one line, at the first request that is not known. */
  constructor(onNotice: (line: string) => void) {
    this.#onNotice = onNotice
  }

  /** Judges a request by its class: all requests of one are alike. */
  isKnown(request: object): boolean {
    const type = Object.getPrototypeOf(request) as object | null
    if (!type) return false
    let isKnown = this.#byClass.get(type)
    if (isKnown === undefined) {
      isKnown = hasKnownShape(request, type)
      this.#byClass.set(type, isKnown)
      if (!isKnown) this.#notice()
    }
    return isKnown
  }

  #notice(): void {
    if (this.#isNoticed) return
    this.#isNoticed = true
    this.#onNotice('this version of undici is not known: bodies that it streams are not read, and its requests cannot be refused')
  }
}

function hasKnownShape(request: object, type: object): boolean {
  const { aborted, completed } = request as { aborted?: unknown; completed?: unknown }
  return (
    Object.isExtensible(request) &&
    Object.getOwnPropertyDescriptor(request, 'body')?.writable === true &&
    typeof aborted === 'boolean' &&
    typeof completed === 'boolean' &&
    KNOWN_METHODS.some(names => names.every(name => isPlainMethod(type, name)))
  )
}

/** One that can be overwritten on the request. */
function isPlainMethod(type: object, name: string): boolean {
  const method = Object.getOwnPropertyDescriptor(type, name)
  return typeof method?.value === 'function' && method.writable === true
}

/**
 * Hears the body of an answer from undici 6 and 7, which call `request.onData` for each piece: undici 6, and with it the
 * fetch of Node 22, has no channel for them. Later versions call it otherwise and have the channel.
 *
 * A private contract, pinned by the tests on every Node.
 *
 * @returns Says whether it is heard here.
 */
function onUndiciResponse(request: UndiciRequest, tracker: ResponseTracker, safely: Guard): boolean {
  const hearable = request as { onData?: (...given: unknown[]) => unknown }
  const { onData } = hearable
  if (typeof onData !== 'function') return false
  const hear = safely((piece: unknown) => piece instanceof Uint8Array && tracker.chunk(piece))
  hearable.onData = function (this: unknown, ...given: unknown[]) {
    hear(given[0])
    return Reflect.apply(onData, this, given)
  }
  return true
}

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
function blockUndici(request: UndiciRequest, error: Error): void {
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

/** The data of a request, whichever client makes it. */
export interface SentRequest {
  /** Stands for the request itself, the same for each of its observers. */
  readonly identity: object
  readonly method: string
  /** Scheme, host, port and path. */
  readonly url: string
  /** The whole body, where it is bytes at hand: what fetch sends, or writes come for, is not. */
  readonly body: Uint8Array | undefined
  /** The headers as they stand at this moment: some clients set theirs until the body is written. */
  headers(): SentHeaders
  /** @param name In lower case. */
  header(name: string): string | undefined
}

/** The operations on a request that differ by its client. */
export interface ClientAdapter extends SentRequest {
  /** @returns Reports what was heard so far. @see tapUndiciBody */
  tap(heard: BodyListener, decision?: BodyDecision): () => void
  tapStart?(heard: FirstChunkListener): void
  /** @returns false where the client is not known, and would send it all the same. */
  block(error: Error): boolean
  /** Hears the answer's body where no channel describes it. */
  hear?(tracker: ResponseTracker, safely: Guard): void
}

/** A request of undici, or of the fetch that is built on it. One object and no closures: there is one for every call. */
export class UndiciAdapter implements ClientAdapter {
  readonly identity: UndiciRequest
  readonly method: string
  readonly url: string
  readonly #shapes: UndiciShapes

  constructor(request: UndiciRequest, method: string, url: string, shapes: UndiciShapes) {
    this.identity = request
    this.method = method
    this.url = url
    this.#shapes = shapes
  }

  get body(): Uint8Array | undefined {
    return this.identity.body instanceof Uint8Array ? this.identity.body : undefined
  }

  headers(): SentHeaders {
    return undiciHeaders(this.identity)
  }

  header(name: string): string | undefined {
    return undiciHeader(this.identity, name)
  }

  tap(heard: BodyListener, decision?: BodyDecision): () => void {
    if (this.#mayWriteTo()) return tapUndiciBody(this.identity, heard, decision)
    heard(undefined)
    return () => undefined
  }

  tapStart(heard: FirstChunkListener): void {
    if (this.#mayWriteTo()) onUndiciFirstChunk(this.identity, heard)
  }

  block(error: Error): boolean {
    const isKnown = this.#shapes.isKnown(this.identity)
    if (isKnown) blockUndici(this.identity, error)
    return isKnown
  }

  hear(tracker: ResponseTracker, safely: Guard): void {
    tracker.isHeardDirectly = this.#shapes.isKnown(this.identity) && onUndiciResponse(this.identity, tracker, safely)
  }

  /** Bytes at hand are read where they are; anything else is read in its place. */
  #mayWriteTo(): boolean {
    const { body } = this.identity
    return typeof body !== 'object' || body === null || body instanceof Uint8Array || this.#shapes.isKnown(this.identity)
  }
}
