import type { BufferedResponse } from '../http-clients/buffered-response.ts'
import {
  comesInPieces,
  type Dispatch,
  type DispatchOptions,
  interceptDispatches,
  isDeclaredShort,
  type ReadBody,
  readPieces,
  textAtHand,
} from '../http-clients/undici-dispatch.ts'
import { isKnownHandler, type UndiciHandler, waitingHandler } from '../http-clients/undici-handler.ts'
import type { KnownService } from '../token-requests/endpoint-registry.ts'
import { type RequestSummary, summarizeRequest } from '../token-requests/request-summary.ts'
import { systemClock } from '../tools/clock.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { isInstrumentationSuppressed } from '../tools/suppress-instrumentation.ts'
import type { DeduplicatedRequestFacts, SharedEnd } from './deduplicated-request.ts'
import { type AskedRefresh, type Inflight, InflightRefreshes, type InflightSettlement } from './inflight-refreshes.ts'
import { primaryHandler } from './primary-handler.ts'

/** A refresh as it comes to a dispatcher: who asks is taken at once. */
export interface Asking {
  /** It is answered without a request of its own. @returns To be reported how that ended. */
  coalesced(facts: Pick<DeduplicatedRequestFacts, 'shape' | 'refresh' | 'decision'>): (end: SharedEnd) => void
}

interface DeduplicateOptions {
  /** For how long a token that was rotated away gets what came of it, in ms; 0 for not at all. */
  windowMs: number
  /** For how long a request is waited for that no caller waits for any more, in ms. @default as `InflightRefreshes` */
  abandonedMs?: number
  /** The service whose token endpoint this is; `unnamed` where any body may show that it is one, `undefined` where none does. */
  serviceAt: (url: URL) => KnownService | 'unnamed' | undefined
  /** Who asks: called synchronously where the request is made. @param above Frames up to this function are not the caller's. */
  asking: (url: URL, service: KnownService | 'unnamed', above: (...given: never[]) => unknown) => Asking
  onFault: (fault: unknown) => void
}

/** On the options of a request that has been decided about: dispatchers hand them on to dispatchers. */
const DECIDED = Symbol('gatewatch decided')
/** Kinds of bodies in which token requests are sent. */
const KINDS = /form-urlencoded|json/i

/**
 * Lets identical refreshes share one upstream answer, and answers a refresh token that was rotated away in this process
 * from memory. What is no refresh is not touched.
 *
 * Works on the requests of fetch and of every undici from version 6 that was loaded from a file of its own.
 *
 * @returns Stops; who waits by then is answered still.
 */
export function deduplicateInterceptor({ windowMs, abandonedMs, serviceAt, asking, onFault }: DeduplicateOptions): () => void {
  const refreshes = new InflightRefreshes({ windowMs, clock: systemClock, ...(abandonedMs !== undefined && { abandonedMs }) })

  const stop = interceptDispatches(function intercept(dispatch) {
    const { options, handler, go } = dispatch
    let start: (() => unknown) | undefined
    try {
      start = plan(dispatch, intercept)
    } catch (fault) {
      onFault(fault)
      start = () => go(decided(options), handler)
    }
    return start ? start() : go(options, handler)
  })
  return () => {
    stop()
    refreshes.clear()
  }

  /** What to do with a request; `undefined` for one that is not deduplicated. */
  function plan(dispatch: Dispatch, above: (...given: never[]) => unknown): (() => unknown) | undefined {
    const { options, handler } = dispatch
    const { body } = options
    const target = targetOf(dispatch)
    if (!target) return undefined
    const { url, service } = target
    const text = textAtHand(body)
    if (text !== undefined) {
      return text.includes('refresh_token') ? turn(dispatch, handler, { url, text, by: asking(url, service, above) }) : undefined
    }
    if (!comesInPieces(body) || (service === 'unnamed' && !isDeclaredShort(options, KINDS))) return undefined
    const by = asking(url, service, above)
    return () => {
      afterReading(dispatch, handler, body, read => turn(read.dispatch, handler, { url, text: read.text, by })).catch(onFault)
      return true
    }
  }

  /** Where a request goes that is ours to decide, and the service there. */
  function targetOf(dispatch: Dispatch): { readonly url: URL; readonly service: KnownService | 'unnamed' } | undefined {
    const { options, handler } = dispatch
    if (DECIDED in options || isInstrumentationSuppressed() || !isKnownHandler(handler)) return undefined
    const url = urlOf(dispatch)
    const service = url && serviceAt(url)
    return url && service ? { url, service } : undefined
  }

  /** Reads the body, then goes on as with one that was at hand; a body that fails fails the request. */
  async function afterReading(
    dispatch: Dispatch,
    handler: UndiciHandler,
    body: AsyncIterable<unknown>,
    decide: (read: { dispatch: Dispatch; text: string | undefined }) => (() => unknown) | undefined,
  ): Promise<void> {
    const waiting = waitingHandler(handler)
    let read: ReadBody
    try {
      read = await readPieces(body)
    } catch (error) {
      waiting.fail(error)
      return
    }
    const options: DispatchOptions = { ...dispatch.options, body: read.body }
    const start = runGuarded(() => decide({ dispatch: { ...dispatch, options }, text: read.text }), onFault)
    try {
      if (start) start()
      else dispatch.go(decided(options), handler)
    } catch (error) {
      // A dispatcher that refuses at once would have thrown at the caller.
      waiting.fail(error)
    }
  }

  /** The application waits for its answer, whatever becomes of what is reported about it. */
  function safely(report: (end: SharedEnd) => void): (end: SharedEnd) => void {
    return end => void runGuarded(() => report(end), onFault)
  }

  /** What to do with a request whose body is known. */
  function turn(
    { options, go }: Dispatch,
    handler: UndiciHandler,
    { url, text, by }: { url: URL; text: string | undefined; by: Asking },
  ): (() => unknown) | undefined {
    const shape = text?.includes('refresh_token') ? summarizeRequest(text) : undefined
    const asked = shape && askedRefresh(url, shape)
    if (!asked) return undefined
    const taken = refreshes.ask(asked)
    if (taken.decision === 'lead') return () => lead({ options, go }, primaryHandler(handler, taken.inflight, onFault), taken.inflight)
    const report = safely(by.coalesced({ shape, refresh: asked.refresh, decision: taken.decision }))
    const sendIndependently = (to: UndiciHandler) => go(decided(options), to)
    if (taken.decision === 'join') return () => join(handler, taken.inflight, report, sendIndependently)
    return () => give(handler, taken.answer, report)
  }
}

/** Sends the one request that the others wait for. */
function lead({ options, go }: Pick<Dispatch, 'options' | 'go'>, leading: UndiciHandler, inflight: Inflight): unknown {
  try {
    return go(decided(options), leading)
  } catch (error) {
    inflight.settle({ error })
    throw error
  }
}

/** Waits for the answer of another. @param alone Sends the request after all, where that answer is none for others. */
function join(
  handler: UndiciHandler,
  inflight: Inflight,
  report: (end: SharedEnd) => void,
  sendIndependently: (to: UndiciHandler) => unknown,
): true {
  const waiting = waitingHandler(handler)
  let isLeft = false
  inflight.waiting += 1
  waiting.start(reason => {
    isLeft = true
    inflight.waiting -= 1
    report({ error: reason })
  })
  const landed = (landing: InflightSettlement) => {
    if (isLeft) return
    if (landing === 'send_independently') {
      sendIndependently(waiting.resume())
      return
    }
    report(landing)
    if ('answer' in landing) waiting.give(landing.answer)
    else waiting.fail(landing.error)
  }
  // A dispatcher that refuses at once throws: that is the error of this request.
  inflight.settled.then(landed).catch(error => waiting.fail(error))
  return true
}

/** Answers from memory, though never while the request is still being made. */
function give(handler: UndiciHandler, answer: BufferedResponse, report: (end: SharedEnd) => void): true {
  const waiting = waitingHandler(handler)
  let isLeft = false
  waiting.start(reason => {
    isLeft = true
    report({ error: reason })
  })
  // Nothing in it throws: the handler's callbacks and the report are guarded.
  setImmediate(() => {
    if (isLeft) return
    report({ answer })
    waiting.give(answer)
  })
  return true
}

function decided(options: DispatchOptions): DispatchOptions {
  return Object.assign({ ...options }, { [DECIDED]: true })
}

function askedRefresh({ href }: URL, shape: RequestSummary): AskedRefresh | undefined {
  const { grantType, refreshFingerprint: refresh, isTokenless, rest } = shape
  return grantType === 'refresh_token' && refresh !== undefined && !isTokenless ? { url: href, refresh, rest } : undefined
}

/** Where it goes; a dispatcher of one origin is not given that again. */
function urlOf({ dispatcher, options: { origin, path } }: Dispatch): URL | undefined {
  const base = origin ?? originOf(dispatcher)
  return base !== undefined && typeof path === 'string' && URL.canParse(path, String(base)) ? new URL(path, base) : undefined
}

function originOf(dispatcher: object): string | URL | undefined {
  const key = Object.getOwnPropertySymbols(dispatcher).find(({ description }) => description === 'url')
  const value = key && (dispatcher as Record<symbol, unknown>)[key]
  return value instanceof URL ? value : undefined
}
