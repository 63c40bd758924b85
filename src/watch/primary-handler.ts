import { type Abort, abortError, isLater, otherParts, type UndiciController, type UndiciHandler } from '../http-clients/undici-handler.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import type { Inflight } from './inflight-refreshes.ts'
import { ResponseBuffer } from './response-buffer.ts'

/**
 * Puts itself between a dispatcher and the handler whose request others wait for: the handler gets everything as it comes,
 * a copy goes to the others, and when the handler leaves, the request goes on without it.
 *
 * Only before anything was sent, and while no other caller waits, does an abort end the request itself.
 */
export function primaryHandler(handler: UndiciHandler, inflight: Inflight, onFault: (fault: unknown) => void): UndiciHandler {
  return isLater(handler) ? laterPrimary(handler, inflight, onFault) : earlierPrimary(handler, inflight, onFault)
}

/** Who leads, until it leaves. */
class PrimaryHandler {
  readonly #buffer: ResponseBuffer
  readonly #inflight: Inflight
  readonly #report: (reason: unknown) => void
  readonly #onFault: (fault: unknown) => void
  #endRequest: Abort = () => undefined
  #isStarting = false
  #isGone = false

  /** @param report Reports an error to the handler. */
  constructor(inflight: Inflight, report: (reason: unknown) => void, onFault: (fault: unknown) => void) {
    this.#inflight = inflight
    this.#report = report
    this.#onFault = onFault
    this.#buffer = new ResponseBuffer(landing => inflight.settle(landing))
  }

  /** Copies a part of the answer. A fault of the copy is ours: the answer goes on, and those who wait send for themselves. */
  copies(part: (buffer: ResponseBuffer) => void): void {
    runGuarded(
      () => part(this.#buffer),
      fault => {
        this.#inflight.settle('send_independently')
        this.#onFault(fault)
      },
    )
  }

  get isGone(): boolean {
    return this.#isGone
  }

  /** The request is about to be written. @param endRequest Ends the request itself. */
  start(endRequest: Abort, begin: () => unknown): unknown {
    this.#endRequest = endRequest
    if (this.#isGone) return undefined
    this.#isStarting = true
    try {
      return begin()
    } finally {
      this.#isStarting = false
    }
  }

  leave(reason: unknown = abortError()): void {
    if (this.#isGone) return
    if (this.#buffer.isTooLong || (this.#isStarting && this.#inflight.waiting === 0)) {
      this.#endRequest(reason)
      return
    }
    this.fail(reason)
  }

  /** Ends it for the handler, with one error. undici reports what that callback throws on the dispatcher; the others go on. */
  fail(error: unknown): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#inflight.isLeft = true
    this.#endLater()
    runGuarded(
      () => this.#report(error),
      () => undefined,
    )
  }

  /** A request that hangs, and that no caller waits for, would hold the process of the application. */
  #endLater(): void {
    const { settled, abandonedMs } = this.#inflight
    const look = () => {
      if (this.#inflight.waiting === 0) this.#endRequest(abortError())
    }
    const timer = setInterval(look, abandonedMs).unref()
    void settled.then(() => clearInterval(timer))
  }

  /** Lets the handler have its part. What it throws is its own failure, and no other caller's. */
  give(part: () => unknown): unknown {
    if (this.#isGone) {
      if (this.#buffer.isTooLong) this.#endRequest(abortError())
      return undefined
    }
    try {
      return part()
    } catch (error) {
      this.leave(error)
      return undefined
    }
  }

  /** A handler that reads slowly does not stop the answer that others wait for. */
  mayPause(): boolean {
    return this.#buffer.isTooLong
  }
}

function earlierPrimary(handler: UndiciHandler, inflight: Inflight, onFault: (fault: unknown) => void): UndiciHandler {
  const primary = new PrimaryHandler(inflight, error => handler.onError?.(error), onFault)
  const goesOn = (wanted: unknown) => (wanted === false && !primary.mayPause() ? true : wanted)
  return {
    ...otherParts(handler, part => primary.give(part)),
    onConnect: (abort, context) =>
      primary.start(abort, () =>
        handler.onConnect?.(reason => {
          primary.leave(reason)
        }, context),
      ),
    onHeaders: (status, headers, resume, statusText) => {
      primary.copies(buffer => buffer.head(status, statusText, headers))
      return goesOn(primary.give(() => handler.onHeaders?.(status, headers, resume, statusText)))
    },
    onData: chunk => {
      primary.copies(buffer => buffer.chunk(chunk))
      return goesOn(primary.give(() => handler.onData?.(chunk)))
    },
    onComplete: trailers => {
      primary.copies(buffer => buffer.ended())
      return primary.give(() => handler.onComplete?.(trailers))
    },
    onError: error => {
      primary.copies(buffer => buffer.failed(error))
      primary.fail(error)
    },
  }
}

function laterPrimary(handler: UndiciHandler, inflight: Inflight, onFault: (fault: unknown) => void): UndiciHandler {
  let own: PrimaryController | undefined
  const primary = new PrimaryHandler(inflight, error => handler.onResponseError?.(own ?? null, error), onFault)
  const ownOf = (controller: UndiciController) => {
    own = own?.of === controller ? own : new PrimaryController(controller, primary)
    return own
  }
  return {
    ...otherParts(handler, part => primary.give(part)),
    onRequestStart: (controller, context) =>
      primary.start(
        reason => controller.abort(reason),
        () => handler.onRequestStart?.(ownOf(controller), context),
      ),
    onResponseStart: (controller, status, headers, statusText) => {
      primary.copies(buffer => buffer.head(status, statusText, headers))
      return primary.give(() => handler.onResponseStart?.(ownOf(controller), status, headers, statusText))
    },
    onResponseData: (controller, chunk) => {
      primary.copies(buffer => buffer.chunk(chunk))
      return primary.give(() => handler.onResponseData?.(ownOf(controller), chunk))
    },
    onResponseEnd: (controller, trailers) => {
      primary.copies(buffer => buffer.ended())
      return primary.give(() => handler.onResponseEnd?.(ownOf(controller), trailers))
    },
    onResponseError: (controller, error) => {
      primary.copies(buffer => buffer.failed(error))
      if (controller) ownOf(controller)
      primary.fail(error)
    },
  }
}

/** The controller that a leader is given: to leave is not to end the request. */
class PrimaryController implements UndiciController {
  readonly of: UndiciController
  readonly #primary: PrimaryHandler
  #isPaused = false
  #reason: unknown = null
  #isAborted = false

  constructor(of: UndiciController, primary: PrimaryHandler) {
    this.of = of
    this.#primary = primary
  }

  get aborted(): boolean {
    return this.#isAborted || this.of.aborted
  }

  get reason(): unknown {
    return this.#reason ?? this.of.reason
  }

  get paused(): boolean {
    return this.#isPaused
  }

  get rawHeaders(): unknown {
    return this.of.rawHeaders
  }

  get rawTrailers(): unknown {
    return this.of.rawTrailers
  }

  pause(): void {
    this.#isPaused = true
    if (this.#primary.mayPause()) this.of.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.of.resume()
  }

  abort(reason: unknown = abortError()): void {
    if (this.#isAborted) return
    this.#isAborted = true
    this.#reason = reason
    this.#primary.leave(reason)
  }
}
