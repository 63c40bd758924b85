import { type AsyncEntry, captureAsyncStack, entryNow, forgetEntry, type NotedFrames } from '../callers/async-stack.ts'
import type { RawFrame } from '../callers/stack-frames.ts'
import type { ObjectAnnotations } from '../tools/object-annotations.ts'
import type { ClientAdapter, SentRequest } from './client-adapter.ts'
import {
  type Guard,
  type OutgoingEnd,
  type ResponseHeaders,
  type ResponseListener,
  ResponseTracker,
  type TrackOptions,
} from './node-response.ts'
import type { BodyDecision, BodyListener, FirstChunkListener } from './request-body.ts'
import type { SentHeaders } from './sent-headers.ts'

interface Expected {
  readonly frames: NotedFrames
  readonly until: number
}

const LIFETIME_MS = 10_000
const MOST_EXPECTED = 1000

/** Who asked for the requests that answers redirected: clients follow a redirect when no caller is on the stack any more. */
export class Redirects {
  readonly #expected = new Map<string, Expected>()

  /** An answer sends the client from `url` to another place. */
  note(url: string, status: number, location: string | undefined, frames: NotedFrames): void {
    if (status < 300 || status >= 400 || location === undefined || !URL.canParse(location, url)) return
    if (this.#expected.size >= MOST_EXPECTED) this.#expected.clear()
    this.#expected.set(new URL(location, url).href, { frames, until: performance.now() + LIFETIME_MS })
  }

  /** Frames of the request that was redirected to `url` a moment ago; reported once. */
  take(url: string): NotedFrames | undefined {
    if (this.#expected.size === 0) return undefined
    const expected = this.#expected.get(url)
    if (!expected) return undefined
    this.#expected.delete(url)
    return performance.now() < expected.until ? expected.frames : undefined
  }
}

/** One request on its way out. */
export interface OutgoingRequest extends SentRequest {
  /**
   * The causal stack: the caller of `above`, behind it the code that entered the client library or made the request that
   * was redirected here. To be taken synchronously.
   */
  frames(above: (...args: never[]) => unknown): readonly RawFrame[]
  /** The same for a caller that may never read it; that costs much less. @param most Frames noted, those of the library apart. @default 160 */
  noteFrames(above: (...args: never[]) => unknown, most?: number): NotedFrames
  /**
   * Keeps it from being sent: the application gets this error as one of its connection. Only at once, or from the
   * listener of `onBody`, where that was given `isEnough`.
   *
   * @returns false where the client is not known, and sends it all the same.
   */
  block(error: Error): boolean
  /** Reported once, of the first piece of the body; for requests whose whole body is not to be read. Not in addition to `onBody`. */
  onBodyStart(listener: FirstChunkListener): void
  /**
   * Reported once, when the request's body is complete; `undefined` for one that cannot be heard or is over 64 KiB.
   *
   * @param isEnough With it the listener is called before the body can be complete at its receiver, and as soon as this holds of
   *   what was heard so far; it may block the request then.
   */
  onBody(listener: BodyListener, isEnough?: BodyDecision['isEnough']): void
  /** Reported once, after the body, when the answer is complete or the request failed. */
  onEnd(listener: (end: OutgoingEnd) => void, options?: TrackOptions): void
}

/** What the requests of one watch have in common. */
export interface TrackingContext {
  readonly trackers: ObjectAnnotations<ResponseTracker>
  readonly redirects: Redirects
  readonly safely: Guard
  /** As `safely`, at once. */
  readonly report: <Message>(handle: (message: Message) => void, message: Message) => void
  /** From now on the pieces of answers are heard through undici's channel. */
  readonly hearPieces: () => void
}

/** A request that a caller wanted to see. */
export class WatchedRequest implements OutgoingRequest, ResponseListener {
  readonly #adapter: ClientAdapter
  readonly #context: TrackingContext
  readonly #entry: AsyncEntry | undefined = entryNow()
  /** Who made the request that was redirected here. */
  readonly #before: NotedFrames | undefined
  #noted: NotedFrames | undefined
  #reportBodySoFar: (() => void) | undefined
  #refusal: Error | undefined
  #listener: ((end: OutgoingEnd) => void) | undefined

  constructor(adapter: ClientAdapter, context: TrackingContext) {
    this.#adapter = adapter
    this.#context = context
    this.#before = context.redirects.take(adapter.url)
  }

  get identity(): object {
    return this.#adapter.identity
  }

  get method(): string {
    return this.#adapter.method
  }

  get url(): string {
    return this.#adapter.url
  }

  get body(): Uint8Array | undefined {
    return this.#adapter.body
  }

  headers(): SentHeaders {
    return this.#adapter.headers()
  }

  header(name: string): string | undefined {
    return this.#adapter.header(name)
  }

  frames(above: (...args: never[]) => unknown): readonly RawFrame[] {
    return this.noteFrames(above)()
  }

  noteFrames(above: (...args: never[]) => unknown, most?: number): NotedFrames {
    this.#noted ??= captureAsyncStack(above, { before: this.#before, ...(most !== undefined && { most }) })
    return this.#noted
  }

  block(error: Error): boolean {
    const isBlocked = this.#adapter.block(error)
    if (isBlocked) this.#refusal = error
    return isBlocked
  }

  onBodyStart(listener: FirstChunkListener): void {
    this.#adapter.tapStart?.(this.#context.safely(listener))
  }

  onBody(listener: BodyListener, isEnough?: BodyDecision['isEnough']): void {
    const decision = isEnough && { isEnough: this.#safely(isEnough), refusal: () => this.#refusal }
    this.#reportBodySoFar = this.#adapter.tap(this.#context.safely(listener), decision)
  }

  /** A fault of ours decides nothing. */
  #safely(isEnough: BodyDecision['isEnough']): BodyDecision['isEnough'] {
    return heard => {
      let holds = false
      this.#context.report(() => {
        holds = isEnough(heard)
      }, undefined)
      return holds
    }
  }

  onEnd(listener: (end: OutgoingEnd) => void, options?: TrackOptions): void {
    const { trackers, safely, hearPieces } = this.#context
    this.#listener = listener
    const tracker = new ResponseTracker(this, options)
    trackers.put(this.identity, tracker)
    this.#adapter.hear?.(tracker, safely)
    if (!tracker.isHeardDirectly) hearPieces()
  }

  head(status: number, headers: () => ResponseHeaders | undefined): void {
    const led = this.#noted ?? this.#before
    if (status >= 300 && status < 400 && led) this.#context.redirects.note(this.url, status, headers()?.location, led)
  }

  ended(end: OutgoingEnd): void {
    this.#reportBodySoFar?.()
    if (this.#listener) this.#context.report(this.#listener, end)
    // Clients hold on to a request when it is over, and the collector would have to carry all this along with it.
    this.#context.trackers.drop(this.identity)
    if (end.status !== undefined && end.status < 300) forgetEntry(this.#entry)
  }
}
