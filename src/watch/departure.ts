import type { Guard } from './answers.ts'
import { blockUndici, drain } from './block.ts'
import { hearUndiciStart, type StartListener } from './body-start.ts'
import type { Following } from './following.ts'
import { type BodyListener, MOST_BYTES, type Refusal, tapUndiciBody, type UndiciRequest } from './request-body.ts'
import { type SentHeaders, undiciHeader, undiciHeaders } from './sent-headers.ts'
import { hearUndiciAnswer } from './undici-answer.ts'

/** What the kinds of requests are taken apart into. */
export interface Departure {
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
  /** @returns Tells what was heard so far. */
  tap(heard: BodyListener, refusal?: Refusal): () => void
  tapStart?(heard: StartListener): void
  block(error: Error): void
  /** Hears the answer's body where no channel tells of it. */
  hear?(followed: Following, safely: Guard): void
  /** Reads what would have been sent, where nobody else does. */
  drain?(): Promise<void>
}

/** A request of undici, or of the fetch that is built on it. One object and no closures: there is one for every call. */
export class UndiciDeparture implements Departure {
  readonly identity: UndiciRequest
  readonly method: string
  readonly url: string

  constructor(request: UndiciRequest, method: string, url: string) {
    this.identity = request
    this.method = method
    this.url = url
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

  tap(heard: BodyListener, refusal?: Refusal): () => void {
    return tapUndiciBody(this.identity, heard, refusal)
  }

  tapStart(heard: StartListener): void {
    hearUndiciStart(this.identity, heard)
  }

  block(error: Error): void {
    blockUndici(this.identity, error)
  }

  hear(followed: Following, safely: Guard): void {
    followed.isHeardDirectly = hearUndiciAnswer(this.identity, followed, safely)
  }

  drain(): Promise<void> {
    return drain(this.identity, MOST_BYTES)
  }
}
