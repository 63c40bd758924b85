import { type Abort, abortError, isLater, otherParts, type UndiciController, type UndiciHandler } from '../http-clients/undici-handler.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import type { SharedFlight } from './inflight-refreshes.ts'
import { AnswerCopy } from './response-buffer.ts'

/**
 * Puts itself between a dispatcher and the handler whose request others wait for: the handler gets everything as it comes,
 * a copy goes to the others, and when the handler leaves, the request goes on without it.
 *
 * Only before anything was sent, and while nobody else waits, does an abort end the request itself.
 */
export function leadingHandler(handler: UndiciHandler, flight: SharedFlight, onFault: (fault: unknown) => void): UndiciHandler {
  return isLater(handler) ? laterLeader(handler, flight, onFault) : earlierLeader(handler, flight, onFault)
}

/** Who leads, until it leaves. */
class Leader {
  readonly #copy: AnswerCopy
  readonly #flight: SharedFlight
  readonly #report: (reason: unknown) => void
  readonly #onFault: (fault: unknown) => void
  #endRequest: Abort = () => undefined
  #isStarting = false
  #isGone = false

  /** @param report Reports an error to the handler. */
  constructor(flight: SharedFlight, report: (reason: unknown) => void, onFault: (fault: unknown) => void) {
    this.#flight = flight
    this.#report = report
    this.#onFault = onFault
    this.#copy = new AnswerCopy(landing => flight.land(landing))
  }

  /** Copies a part of the answer. A fault of the copy is ours: the answer goes on, and those who wait send for themselves. */
  copies(part: (copy: AnswerCopy) => void): void {
    runGuarded(
      () => part(this.#copy),
      fault => {
        this.#flight.land('unshared')
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
    if (this.#copy.isTooLong || (this.#isStarting && this.#flight.waiting === 0)) {
      this.#endRequest(reason)
      return
    }
    this.fail(reason)
  }

  /** Ends it for the handler, with one error. undici reports what that callback throws on the dispatcher; the others go on. */
  fail(error: unknown): void {
    if (this.#isGone) return
    this.#isGone = true
    runGuarded(
      () => this.#report(error),
      () => undefined,
    )
  }

  /** Lets the handler have its part. What it throws is its own failure, and nobody else's. */
  give(part: () => unknown): unknown {
    if (this.#isGone) {
      if (this.#copy.isTooLong) this.#endRequest(abortError())
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
    return this.#copy.isTooLong
  }
}

function earlierLeader(handler: UndiciHandler, flight: SharedFlight, onFault: (fault: unknown) => void): UndiciHandler {
  const leader = new Leader(flight, error => handler.onError?.(error), onFault)
  const goesOn = (wanted: unknown) => (wanted === false && !leader.mayPause() ? true : wanted)
  return {
    ...otherParts(handler, part => leader.give(part)),
    onConnect: (abort, context) =>
      leader.start(abort, () =>
        handler.onConnect?.(reason => {
          leader.leave(reason)
        }, context),
      ),
    onHeaders: (status, headers, resume, statusText) => {
      leader.copies(copy => copy.head(status, statusText, headers))
      return goesOn(leader.give(() => handler.onHeaders?.(status, headers, resume, statusText)))
    },
    onData: chunk => {
      leader.copies(copy => copy.chunk(chunk))
      return goesOn(leader.give(() => handler.onData?.(chunk)))
    },
    onComplete: trailers => {
      leader.copies(copy => copy.ended())
      return leader.give(() => handler.onComplete?.(trailers))
    },
    onError: error => {
      leader.copies(copy => copy.failed(error))
      leader.fail(error)
    },
  }
}

function laterLeader(handler: UndiciHandler, flight: SharedFlight, onFault: (fault: unknown) => void): UndiciHandler {
  let own: LeadersController | undefined
  const leader = new Leader(flight, error => handler.onResponseError?.(own ?? null, error), onFault)
  const ownOf = (controller: UndiciController) => {
    own = own?.of === controller ? own : new LeadersController(controller, leader)
    return own
  }
  return {
    ...otherParts(handler, part => leader.give(part)),
    onRequestStart: (controller, context) =>
      leader.start(
        reason => controller.abort(reason),
        () => handler.onRequestStart?.(ownOf(controller), context),
      ),
    onResponseStart: (controller, status, headers, statusText) => {
      leader.copies(copy => copy.head(status, statusText, headers))
      return leader.give(() => handler.onResponseStart?.(ownOf(controller), status, headers, statusText))
    },
    onResponseData: (controller, chunk) => {
      leader.copies(copy => copy.chunk(chunk))
      return leader.give(() => handler.onResponseData?.(ownOf(controller), chunk))
    },
    onResponseEnd: (controller, trailers) => {
      leader.copies(copy => copy.ended())
      return leader.give(() => handler.onResponseEnd?.(ownOf(controller), trailers))
    },
    onResponseError: (controller, error) => {
      leader.copies(copy => copy.failed(error))
      if (controller) ownOf(controller)
      leader.fail(error)
    },
  }
}

/** The controller that a leader is given: to leave is not to end the request. */
class LeadersController implements UndiciController {
  readonly of: UndiciController
  readonly #leader: Leader
  #isPaused = false
  #reason: unknown = null
  #isAborted = false

  constructor(of: UndiciController, leader: Leader) {
    this.of = of
    this.#leader = leader
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
    if (this.#leader.mayPause()) this.of.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.of.resume()
  }

  abort(reason: unknown = abortError()): void {
    if (this.#isAborted) return
    this.#isAborted = true
    this.#reason = reason
    this.#leader.leave(reason)
  }
}
