import type { TokenAnswer } from './token-answer.ts'

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

/** A handler that waits for an answer which it did not ask for itself. */
export interface WaitingHandler {
  /** Lets it have a way to leave. @param left Told once, when it leaves; it has had its error by then. */
  start(left: (reason: unknown) => void): void
  give(answer: TokenAnswer): void
  fail(error: unknown): void
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

/** Lets a handler wait for an answer, of whatever kind it is. */
export function waitingHandler(handler: UndiciHandler): WaitingHandler {
  let isOver = false
  let left: (reason: unknown) => void = () => undefined
  const kind = isLater(handler) ? laterHandler(handler, leave) : earlierHandler(handler)
  function leave(reason: unknown = abortError()): void {
    if (isOver) return
    left(reason)
    fail(reason)
  }
  function fail(error: unknown): void {
    if (isOver) return
    isOver = true
    kind.fail(error)
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
  head(answer: TokenAnswer): void
  body(answer: TokenAnswer): void
  end(): void
  fail(error: unknown): void
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
  }
}

function laterHandler(handler: UndiciHandler, leave: Abort): Kind {
  let raw: Buffer[] = []
  let reason: unknown = null
  let isPaused = false
  const controller: UndiciController = {
    get aborted() {
      return reason !== null
    },
    get reason() {
      return reason
    },
    get paused() {
      return isPaused
    },
    get rawHeaders() {
      return raw
    },
    rawTrailers: [],
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
    },
    abort: given => {
      if (reason !== null) return
      reason = given ?? abortError()
      leave(reason)
    },
  }
  return {
    start: () => handler.onRequestStart?.(controller, null),
    head: ({ status, statusText, headers }) => {
      raw = rawHeaders(headers)
      handler.onResponseStarted?.()
      handler.onResponseStart?.(controller, status, tableOf(headers), statusText)
    },
    body: ({ body }) => body.byteLength > 0 && handler.onResponseData?.(controller, Buffer.from(body)),
    end: () => handler.onResponseEnd?.(controller, {}),
    fail: error => handler.onResponseError?.(controller, error),
  }
}

/** Names and values in turn, as the parser hands them over. */
function rawHeaders(headers: TokenAnswer['headers']): Buffer[] {
  return headers.flatMap(([name, value]) => [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')])
}

/** By name in lower case; one that came several times is a list. */
function tableOf(headers: TokenAnswer['headers']): Record<string, string | string[]> {
  const table: Record<string, string | string[]> = {}
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const before = table[key]
    table[key] = before === undefined ? value : [before, value].flat()
  }
  return table
}
