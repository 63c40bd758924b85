import { blockUndici } from './block.ts'
import { type FirstChunkListener, onUndiciFirstChunk } from './first-chunk.ts'
import type { Guard } from './node-response.ts'
import { type BodyDecision, type BodyListener, tapUndiciBody, type UndiciRequest } from './request-body.ts'
import type { ResponseTracker } from './response-tracker.ts'
import { type SentHeaders, undiciHeader, undiciHeaders } from './sent-headers.ts'
import { onUndiciResponse } from './undici-response.ts'
import type { UndiciShapes } from './undici-shape.ts'

/** What the kinds of requests are taken apart into. */
export interface ClientAdapter {
  /** Stands for the request itself, the same for everybody who watches it. */
  readonly identity: object
  readonly method: string
  /** Scheme, host, port and path. */
  readonly url: string
  /** The whole body, where it is bytes at hand. */
  readonly body: Uint8Array | undefined
  headers(): SentHeaders
  /** @param name In lower case. */
  header(name: string): string | undefined
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
