import { type Entry, entryNow, forgetEntry, type NotedFrames, noteCausalFrames } from '../callers/async-stack.ts'
import type { RawFrame } from '../callers/stack-frames.ts'
import type { PrivateNotes } from '../tools/object-annotations.ts'
import type { Departure } from './client-adapter.ts'
import type { StartListener } from './first-chunk.ts'
import type { Guard } from './node-response.ts'
import type { Redirects } from './redirects.ts'
import type { BodyDecision, BodyListener } from './request-body.ts'
import { type AnswerHeaders, type Follower, Following, type FollowOptions, type OutgoingEnd } from './response-tracker.ts'
import type { SentHeaders } from './sent-headers.ts'

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
   * Keeps it from being sent: the application gets this error as one of its connection. Only at once, or from the
   * listener of `onBody`, where that was given `isEnough`.
   *
   * @returns false where the client is not known, and sends it all the same.
   */
  block(error: Error): boolean
  /** Told once, of the first piece of the body; for requests whose whole body is nobody's business. Not besides `onBody`. */
  onBodyStart(listener: StartListener): void
  /**
   * Told once, when the request's body is complete; `undefined` for one that cannot be heard or is over 64 KiB.
   *
   * @param isEnough With it the listener is called before the body can be complete at its receiver, and as soon as this holds of
   *   what was heard so far; it may block the request then.
   */
  onBody(listener: BodyListener, isEnough?: BodyDecision['isEnough']): void
  /** Told once, after the body, when the answer is complete or the request failed. */
  onEnd(listener: (end: OutgoingEnd) => void, options?: FollowOptions): void
}

/** What the requests of one watch have in common. */
export interface Surroundings {
  readonly following: PrivateNotes<Following>
  readonly redirects: Redirects
  readonly safely: Guard
  /** As `safely`, at once. */
  readonly tell: <Message>(handle: (message: Message) => void, message: Message) => void
}

/** A request that somebody wanted to see. */
export class WatchedRequest implements OutgoingRequest, Follower {
  readonly #departure: Departure
  readonly #surroundings: Surroundings
  readonly #entry: Entry | undefined = entryNow()
  /** Who made the request that was redirected here. */
  readonly #before: NotedFrames | undefined
  #noted: NotedFrames | undefined
  #tellBodySoFar: (() => void) | undefined
  #refusal: Error | undefined
  #listener: ((end: OutgoingEnd) => void) | undefined

  constructor(departure: Departure, surroundings: Surroundings) {
    this.#departure = departure
    this.#surroundings = surroundings
    this.#before = surroundings.redirects.take(departure.url)
  }

  get identity(): object {
    return this.#departure.identity
  }

  get method(): string {
    return this.#departure.method
  }

  get url(): string {
    return this.#departure.url
  }

  get body(): Uint8Array | undefined {
    return this.#departure.body
  }

  headers(): SentHeaders {
    return this.#departure.headers()
  }

  header(name: string): string | undefined {
    return this.#departure.header(name)
  }

  frames(above: (...args: never[]) => unknown): readonly RawFrame[] {
    return this.noteFrames(above)()
  }

  noteFrames(above: (...args: never[]) => unknown, most?: number): NotedFrames {
    this.#noted ??= noteCausalFrames(above, { before: this.#before, ...(most !== undefined && { most }) })
    return this.#noted
  }

  block(error: Error): boolean {
    const isBlocked = this.#departure.block(error)
    if (isBlocked) this.#refusal = error
    return isBlocked
  }

  onBodyStart(listener: StartListener): void {
    this.#departure.tapStart?.(this.#surroundings.safely(listener))
  }

  onBody(listener: BodyListener, isEnough?: BodyDecision['isEnough']): void {
    const decision = isEnough && { isEnough: this.#safely(isEnough), refusal: () => this.#refusal }
    this.#tellBodySoFar = this.#departure.tap(this.#surroundings.safely(listener), decision)
  }

  /** A fault of ours decides nothing. */
  #safely(isEnough: BodyDecision['isEnough']): BodyDecision['isEnough'] {
    return heard => {
      let holds = false
      this.#surroundings.tell(() => {
        holds = isEnough(heard)
      }, undefined)
      return holds
    }
  }

  onEnd(listener: (end: OutgoingEnd) => void, options?: FollowOptions): void {
    const { following, safely } = this.#surroundings
    this.#listener = listener
    const followed = new Following(this, options)
    following.put(this.identity, followed)
    this.#departure.hear?.(followed, safely)
  }

  head(status: number, headers: () => AnswerHeaders | undefined): void {
    const led = this.#noted ?? this.#before
    if (status >= 300 && status < 400 && led) this.#surroundings.redirects.note(this.url, status, headers()?.location, led)
  }

  ended(end: OutgoingEnd): void {
    this.#tellBodySoFar?.()
    if (this.#listener) this.#surroundings.tell(this.#listener, end)
    // Clients hold on to a request when it is over, and the collector would have to carry all this along with it.
    this.#surroundings.following.drop(this.identity)
    if (end.status !== undefined && end.status < 300) forgetEntry(this.#entry)
  }
}
