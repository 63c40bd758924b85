import { runGuarded } from '../tools/run-guarded.ts'
import type { BufferedResponse } from './buffered-response.ts'

export type Abort = (reason?: unknown) => void

/** What the later of the two kinds of handlers steers its request with. */
export interface UndiciController {
  readonly aborted: boolean
  readonly reason: unknown
  readonly paused: boolean
  readonly rawHeaders?: unknown
  readonly rawTrailers?: unknown
  pause(): void
  resume(): void
  abort: Abort
}

/**
 * What a dispatcher of undici hands an answer to. There are two kinds: that of undici 6, of most of 7 and of the fetch of
 * Node 22 and 24, which begins with `onConnect`, and that of undici 8, which begins with `onRequestStart`; 7 takes both.
 *
 * @see https://github.com/nodejs/undici/blob/main/docs/docs/api/Dispatcher.md (Parameter: DispatchHandler)
 */
export interface UndiciHandler {
  onConnect?(abort: Abort, context?: unknown): unknown
  onHeaders?(status: number, headers: readonly unknown[], resume: () => void, statusText?: string): unknown
  onData?(chunk: Buffer): unknown
  onComplete?(trailers: unknown): unknown
  onError?(error: unknown): unknown
  onUpgrade?(...given: unknown[]): unknown
  onResponseStarted?(): unknown
  onBodySent?(...given: unknown[]): unknown
  onRequestSent?(): unknown
  onRequestStart?(controller: UndiciController, context?: unknown): unknown
  onResponseStart?(controller: UndiciController, status: number, headers: unknown, statusText?: string): unknown
  onResponseData?(controller: UndiciController, chunk: Buffer): unknown
  onResponseEnd?(controller: UndiciController, trailers: unknown): unknown
  onResponseError?(controller: UndiciController | null, error: unknown): unknown
  onRequestUpgrade?(...given: unknown[]): unknown
}

/** A handler that waits for the answer of another request. What the application's callbacks throw never leaves it. */
interface WaitingHandler {
  /** Starts the handler: it gets a way to leave. @param left Called once, when it leaves, before its error. */
  start(left: (reason: unknown) => void): void
  give(answer: BufferedResponse): void
  fail(error: unknown): void
  /**
   * Ends the waiting: a handler to send the request with after all. The application's handler is not started a second
   * time; the way to leave that it got ends the request from now on.
   */
  resume(): UndiciHandler
}

/** Says whether a handler is one of the kinds that are known, and whole. */
export function isKnownHandler(handler: unknown): handler is UndiciHandler {
  if (typeof handler !== 'object' || handler === null) return false
  const known = handler as UndiciHandler
  const parts = isLater(known)
    ? [known.onRequestStart, known.onResponseStart, known.onResponseData, known.onResponseEnd, known.onResponseError]
    : [known.onConnect, known.onHeaders, known.onData, known.onComplete, known.onError]
  return parts.every(part => typeof part === 'function')
}

/** Of the kind that begins with `onRequestStart`. */
export function isLater(handler: UndiciHandler): boolean {
  return typeof handler.onRequestStart === 'function'
}

/** What a request fails with that its application gave up without saying why, as undici names it. */
export function abortError(): Error {
  return Object.assign(new Error('Request aborted'), { name: 'AbortError', code: 'UND_ERR_ABORTED' })
}

/** Lets a handler of either kind wait for an answer. */
export function waitingHandler(handler: UndiciHandler): WaitingHandler {
  let isOver = false
  let left: (reason: unknown) => void = () => undefined
  const kind = isLater(handler) ? laterHandler(handler, leave) : earlierHandler(handler)
  function leave(reason: unknown = abortError()): void {
    if (isOver) return
    // First: a request that ends by this reports its end to the same handler.
    isOver = true
    runGuarded(
      () => left(reason),
      () => undefined,
    )
    report(reason)
  }
  function fail(error: unknown): void {
    if (isOver) return
    isOver = true
    report(error)
  }
  /** undici reports what this callback throws on the dispatcher; no dispatcher takes part here. */
  function report(error: unknown): void {
    runGuarded(
      () => kind.fail(error),
      () => undefined,
    )
  }
  return {
    start: whenLeft => {
      left = whenLeft
      guarded(() => kind.start(leave))
    },
    give: answer => {
      if (isOver) return
      // Between two pieces the application may leave.
      const steps = [() => kind.head(answer), () => kind.body(answer), () => kind.end()]
      for (const step of steps) if (!isOver) guarded(step)
      isOver = true
    },
    fail,
    resume: () =>
      kind.resumed({
        get isOver() {
          return isOver
        },
        onLeave: end => {
          left = end
        },
        end: () => {
          isOver = true
        },
      }),
  }

  /** What an application's callback throws fails its own request, as it does in undici. */
  function guarded(step: () => void): void {
    try {
      step()
    } catch (error) {
      leave(error)
    }
  }
}

interface Kind {
  start(leave: Abort): void
  head(answer: BufferedResponse): void
  body(answer: BufferedResponse): void
  end(): void
  fail(error: unknown): void
  /** A handler for a dispatcher, in the place of one that was started already. */
  resumed(request: ResumedRequest): UndiciHandler
}

/** A request that is sent after all for a handler that has waited. */
interface ResumedRequest {
  /** The application has left and had its error, or the request has ended. */
  readonly isOver: boolean
  /** Takes what ends the request when the application leaves. */
  onLeave(end: (reason: unknown) => void): void
  end(): void
}

/** Nothing waits for a handler that asks for a pause: all there is to come is there already. */
function earlierHandler(handler: UndiciHandler): Kind {
  return {
    start: leave => handler.onConnect?.(leave, null),
    head: ({ status, statusText, headers }) => {
      handler.onResponseStarted?.()
      handler.onHeaders?.(status, rawHeaders(headers), () => undefined, statusText)
    },
    body: ({ body }) => body.byteLength > 0 && handler.onData?.(Buffer.from(body)),
    end: () => handler.onComplete?.([]),
    fail: error => handler.onError?.(error),
    resumed: request => ({
      ...otherParts(handler, part => (request.isOver ? undefined : part())),
      onConnect: abort => {
        if (request.isOver) abort()
        else request.onLeave(abort)
      },
      onHeaders: (...given) => (request.isOver ? true : handler.onHeaders?.(...given)),
      onData: chunk => (request.isOver ? true : handler.onData?.(chunk)),
      onComplete: trailers => {
        if (request.isOver) return
        handler.onComplete?.(trailers)
        request.end()
      },
      onError: error => {
        if (request.isOver) return
        request.end()
        handler.onError?.(error)
      },
    }),
  }
}

function laterHandler(handler: UndiciHandler, leave: Abort): Kind {
  const controller = new WaitersController(leave)
  return {
    start: () => handler.onRequestStart?.(controller, null),
    head: ({ status, statusText, headers }) => {
      controller.rawHeaders = rawHeaders(headers)
      handler.onResponseStarted?.()
      handler.onResponseStart?.(controller, status, tableOf(headers), statusText)
    },
    body: ({ body }) => body.byteLength > 0 && handler.onResponseData?.(controller, Buffer.from(body)),
    end: () => handler.onResponseEnd?.(controller, {}),
    fail: error => handler.onResponseError?.(controller, error),
    resumed: request => ({
      ...otherParts(handler, part => (request.isOver ? undefined : part())),
      onRequestStart: of => {
        if (request.isOver) {
          of.abort(controller.reason ?? abortError())
          return
        }
        controller.resumed(of)
        request.onLeave(reason => of.abort(reason))
      },
      onResponseStart: (_of, ...given) => (request.isOver ? undefined : handler.onResponseStart?.(controller, ...given)),
      onResponseData: (_of, chunk) => (request.isOver ? undefined : handler.onResponseData?.(controller, chunk)),
      onResponseEnd: (_of, trailers) => {
        if (request.isOver) return
        handler.onResponseEnd?.(controller, trailers)
        request.end()
      },
      onResponseError: (of, error) => {
        if (request.isOver) return
        request.end()
        handler.onResponseError?.(of && controller, error)
      },
    }),
  }
}

/** What a waiting handler of the later kind steers with: nothing, until a request of its own is sent. */
class WaitersController implements UndiciController {
  readonly #leave: Abort
  #of: UndiciController | undefined
  #raw: Buffer[] = []
  #reason: unknown = null
  #isPaused = false

  constructor(leave: Abort) {
    this.#leave = leave
  }

  /** A request of its own was started. */
  resumed(of: UndiciController): void {
    this.#of = of
    if (this.#isPaused) of.pause()
  }

  get aborted(): boolean {
    return this.#reason !== null || this.#of?.aborted === true
  }

  get reason(): unknown {
    return this.#reason ?? this.#of?.reason ?? null
  }

  get paused(): boolean {
    return this.#isPaused
  }

  get rawHeaders(): unknown {
    return this.#of ? this.#of.rawHeaders : this.#raw
  }

  set rawHeaders(raw: Buffer[]) {
    this.#raw = raw
  }

  get rawTrailers(): unknown {
    return this.#of ? this.#of.rawTrailers : []
  }

  pause(): void {
    this.#isPaused = true
    this.#of?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#of?.resume()
  }

  abort(reason: unknown = abortError()): void {
    if (this.#reason !== null) return
    this.#reason = reason
    this.#leave(reason)
  }
}

/** Callbacks that neither answer nor end a request. */
const OTHER_PARTS = ['onUpgrade', 'onRequestUpgrade', 'onResponseStarted', 'onBodySent', 'onRequestSent'] as const

/** Those of them that the handler has. @param call Calls one of them, or leaves it out. */
export function otherParts(handler: UndiciHandler, call: (part: () => unknown) => unknown): UndiciHandler {
  return Object.fromEntries(
    OTHER_PARTS.filter(name => typeof handler[name] === 'function').map(name => [
      name,
      (...given: unknown[]) => call(() => Reflect.apply(handler[name] as () => unknown, handler, given)),
    ]),
  )
}

/** Names and values in turn, as the parser hands them over. */
function rawHeaders(headers: BufferedResponse['headers']): Buffer[] {
  return headers.flatMap(([name, value]) => [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')])
}

/** By name in lower case; one that came several times is a list. */
function tableOf(headers: BufferedResponse['headers']): Record<string, string | string[]> {
  const table = new Map<string, string | string[]>()
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const before = table.get(key)
    table.set(key, before === undefined ? value : [before, value].flat())
  }
  return Object.fromEntries(table)
}
