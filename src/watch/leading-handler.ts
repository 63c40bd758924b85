import { AnswerCopy } from './answer-copy.ts'
import type { SharedFlight } from './coalesced-refreshes.ts'
import { type Abort, abortError, isLater, type UndiciController, type UndiciHandler } from './undici-handler.ts'

/**
 * Puts itself between a dispatcher and the handler whose request others wait for: the handler gets everything as it comes,
 * a copy goes to the others, and when the handler leaves, the request goes on without it.
 *
 * Only before anything was sent, and while nobody else waits, does an abort end the request itself.
 */
export function leadingHandler(handler: UndiciHandler, flight: SharedFlight): UndiciHandler {
  return isLater(handler) ? laterLeader(handler, flight) : earlierLeader(handler, flight)
}

/** Who leads, until it leaves. */
class Leader {
  readonly copy: AnswerCopy
  readonly #flight: SharedFlight
  readonly #tellLeft: (reason: unknown) => void
  #endRequest: Abort = () => undefined
  #isStarting = false
  #isGone = false

  constructor(flight: SharedFlight, tellLeft: (reason: unknown) => void) {
    this.#flight = flight
    this.#tellLeft = tellLeft
    this.copy = new AnswerCopy(landing => flight.land(landing))
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
    if (this.copy.isTooLong || (this.#isStarting && this.#flight.waiting === 0)) {
      this.#endRequest(reason)
      return
    }
    this.#isGone = true
    this.#tellLeft(reason)
  }

  /** Lets the handler have its part. What it throws is its own failure, and nobody else's. */
  give(part: () => unknown): unknown {
    if (this.#isGone) {
      if (this.copy.isTooLong) this.#endRequest(abortError())
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
    return this.copy.isTooLong
  }
}

function earlierLeader(handler: UndiciHandler, flight: SharedFlight): UndiciHandler {
  const leader = new Leader(flight, reason => handler.onError?.(reason))
  const goesOn = (wanted: unknown) => (wanted === false && !leader.mayPause() ? true : wanted)
  return {
    ...passedOn(handler, leader),
    onConnect: (abort, context) =>
      leader.start(abort, () =>
        handler.onConnect?.(reason => {
          leader.leave(reason)
        }, context),
      ),
    onHeaders: (status, headers, resume, statusText) => {
      leader.copy.head(status, statusText, headers)
      return goesOn(leader.give(() => handler.onHeaders?.(status, headers, resume, statusText)))
    },
    onData: chunk => {
      leader.copy.chunk(chunk)
      return goesOn(leader.give(() => handler.onData?.(chunk)))
    },
    onComplete: trailers => {
      leader.copy.ended()
      return leader.give(() => handler.onComplete?.(trailers))
    },
    onError: error => {
      leader.copy.failed(error)
      return leader.give(() => handler.onError?.(error))
    },
  }
}

function laterLeader(handler: UndiciHandler, flight: SharedFlight): UndiciHandler {
  let own: LeadersController | undefined
  const leader = new Leader(flight, reason => handler.onResponseError?.(own ?? null, reason))
  const ownOf = (controller: UndiciController) => {
    own = own?.of === controller ? own : new LeadersController(controller, leader)
    return own
  }
  return {
    ...passedOn(handler, leader),
    onRequestStart: (controller, context) =>
      leader.start(
        reason => controller.abort(reason),
        () => handler.onRequestStart?.(ownOf(controller), context),
      ),
    onResponseStart: (controller, status, headers, statusText) => {
      leader.copy.head(status, statusText, headers)
      return leader.give(() => handler.onResponseStart?.(ownOf(controller), status, headers, statusText))
    },
    onResponseData: (controller, chunk) => {
      leader.copy.chunk(chunk)
      return leader.give(() => handler.onResponseData?.(ownOf(controller), chunk))
    },
    onResponseEnd: (controller, trailers) => {
      leader.copy.ended()
      return leader.give(() => handler.onResponseEnd?.(ownOf(controller), trailers))
    },
    onResponseError: (controller, error) => {
      leader.copy.failed(error)
      return leader.give(() => handler.onResponseError?.(controller && ownOf(controller), error))
    },
  }
}

/** What neither answers nor ends a request, where the handler has it. */
function passedOn(handler: UndiciHandler, leader: Leader): UndiciHandler {
  const names = ['onUpgrade', 'onRequestUpgrade', 'onResponseStarted', 'onBodySent', 'onRequestSent'] as const
  return Object.fromEntries(
    names
      .filter(name => typeof handler[name] === 'function')
      .map(name => [name, (...given: unknown[]) => leader.give(() => Reflect.apply(handler[name] as () => unknown, handler, given))]),
  )
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
