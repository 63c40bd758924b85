import { AsyncResource } from 'node:async_hooks'
import { type AsyncEntry, enter, entryNow, noteCaller, resumeEntry, runAsEntry } from '../callers/async-stack.ts'
import { objectAnnotations } from '../tools/object-annotations.ts'

/** The options of a dispatch that are used here. */
export interface DispatchOptions {
  readonly origin?: string | URL
  readonly path?: string
  readonly method?: string
  readonly headers?: unknown
  readonly body?: unknown
}

/** One request on its way into a dispatcher of undici. */
export interface Dispatch {
  readonly dispatcher: object
  readonly options: DispatchOptions
  readonly handler: object
  /** Sends it: as it was asked for, or otherwise. */
  go(options?: DispatchOptions, handler?: object): unknown
}

/** Takes a POST over, or lets it go on by `go`; what comes back is what the dispatcher answers. Must not throw but what `go` throws. */
type DispatchInterceptor = (dispatch: Dispatch) => unknown

type Method = (this: object, options: unknown, handler: unknown, ...rest: unknown[]) => unknown

/** Where undici, since version 5, keeps the dispatcher that all its copies share. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]

/** Prototypes whose `dispatch` is wrapped, and whether the wrapper does anything. */
const wrapped = new WeakMap<object, { isOn: boolean }>()
/** What they were wrapped in. */
const wrappers = new WeakSet<object>()
const adapters = objectAnnotations<FirstDispatch>()
let interceptor: DispatchInterceptor | undefined
/** The one that is on the stack. */
let dispatching: FirstDispatch | undefined

/** Where a handler was first dispatched: caller and context. */
class FirstDispatch {
  // Destroyed by the garbage collector; async hooks of the host are notified of it.
  readonly #context = new AsyncResource('GATEWATCH_DISPATCH')
  readonly #entry: AsyncEntry | undefined = entryNow()

  get isOnStack(): boolean {
    return dispatching === this
  }

  /** Goes on there, unless that is where we are. */
  goOn(work: () => unknown): unknown {
    if (this.isOnStack) return work()
    return this.#context.runInAsyncScope(() => this.run(() => resumeEntry(() => this.#entry?.frames?.() ?? [], work)))
  }

  run(work: () => unknown): unknown {
    const before = dispatching
    dispatching = this
    try {
      return work()
    } finally {
      dispatching = before
    }
  }
}

/**
 * Puts an interceptor before every dispatcher: those of the copies of undici that are loaded from files from now on
 * (`wrapDispatch`), and those of the undici built into Node, which fetch uses.
 *
 * @returns Takes it away again.
 */
export function interceptDispatches(wanted: DispatchInterceptor): () => void {
  interceptor = wanted
  const undoFetch = wrapShared() ? () => undefined : wrapAtFirstFetch()
  return () => {
    undoFetch()
    if (interceptor !== wanted) return
    interceptor = undefined
    for (const undo of shared.splice(0).reverse()) undo()
  }
}

/** Puts back what `wrapShared` has wrapped. */
const shared: (() => void)[] = []

/**
 * Wraps `dispatch` of a class of dispatchers. A handler that is dispatched again, from a queue or for another hop, goes
 * on in the context it was first dispatched in.
 *
 * @returns Puts the class's own `dispatch` back; where another library has wrapped it since, ours stays and only calls it.
 */
export function wrapDispatch({ prototype }: { prototype: object }): () => void {
  const { dispatch: original } = prototype as { dispatch?: Method }
  const known = wrapped.get(prototype)
  if (known?.isOn || typeof original !== 'function') return () => undefined
  const state = known ?? { isOn: true }
  state.isOn = true
  if (known)
    return () => {
      state.isOn = false
    }
  wrapped.set(prototype, state)
  const wrapper = {
    dispatch(this: object, options: unknown, handler: unknown, ...rest: unknown[]): unknown {
      if (!state.isOn || !isPost(options) || !isObject(handler)) return original.call(this, options, handler, ...rest)
      const known = adapters.of(handler)
      const intercept = interceptor
      // From one dispatcher to the one behind it: most calls of most requests.
      if (!intercept && known?.isOnStack) return original.call(this, options, handler, ...rest)
      if (!intercept) {
        const send = () => original.call(this, options, handler, ...rest)
        return known ? known.goOn(send) : runAsEntry(wrapper.dispatch, () => first(handler).run(send))
      }
      const go = (by: unknown = options, to: unknown = handler) => {
        // A handler's stand-in comes back from a queue in its place.
        if (to !== handler && isObject(to)) first(to)
        return Reflect.apply(original, this, [by, to, ...rest])
      }
      const through = () => intercept({ dispatcher: this, options, handler, go })
      if (known) return known.goOn(through)
      return enter(
        () => noteCaller(wrapper.dispatch),
        () => first(handler).run(through),
      )
    },
  }
  const before = Object.getOwnPropertyDescriptor(prototype, 'dispatch')
  wrappers.add(wrapper.dispatch)
  Object.assign(prototype, wrapper)
  return () => {
    state.isOn = false
    if (!before || (prototype as { dispatch?: unknown }).dispatch !== wrapper.dispatch) return
    Object.defineProperty(prototype, 'dispatch', before)
    wrapped.delete(prototype)
  }
}

function first(handler: object): FirstDispatch {
  const made = new FirstDispatch()
  adapters.put(handler, made)
  return made
}

/** Says whether a dispatcher takes a request at once: no interceptor before it may take its time. */
export function dispatchesAtOnce(dispatcher: unknown = globalDispatcher()): boolean {
  if (interceptor || !isObject(dispatcher)) return false
  const { dispatch } = dispatcher as { dispatch?: unknown }
  return typeof dispatch === 'function' && wrappers.has(dispatch)
}

function globalDispatcher(): unknown {
  return GLOBAL_DISPATCHERS.map(key => (globalThis as Record<symbol, unknown>)[key]).find(isObject)
}

/**
 * Wraps what the dispatcher is made of that all copies of undici share, which is that of the copy that was loaded first;
 * to be called when one has been loaded. Does nothing without an interceptor.
 *
 * @returns Says whether there is one yet.
 */
export function wrapShared(): boolean {
  if (!interceptor) return false
  const found = GLOBAL_DISPATCHERS.map(key => (globalThis as Record<symbol, unknown>)[key]).filter(isObject)
  for (const dispatcher of found) {
    for (let prototype = Object.getPrototypeOf(dispatcher); isObject(prototype); prototype = Object.getPrototypeOf(prototype)) {
      // The one that all dispatchers descend from only says that its method is not implemented.
      const isAbstract = prototype.constructor.name === 'Dispatcher'
      if (Object.hasOwn(prototype, 'dispatch') && !isAbstract) shared.push(wrapDispatch({ prototype }))
    }
  }
  return found.length > 0
}

/**
 * Node loads its undici at the first fetch. To load it sooner would change which copy of undici the application shares
 * its dispatcher with, so the first call is waited for; after it `fetch` is again what it was.
 */
function wrapAtFirstFetch(): () => void {
  const { fetch: original } = globalThis
  if (typeof original !== 'function') return () => undefined
  const undo = () => {
    if (globalThis.fetch === first.fetch) globalThis.fetch = original
  }
  const first = {
    fetch(...given: Parameters<typeof fetch>): ReturnType<typeof fetch> {
      undo()
      // Looking at it loads undici, as the call below is about to do.
      if (interceptor) void globalThis.Headers
      wrapShared()
      return Reflect.apply(original, globalThis, given)
    },
  }
  Object.defineProperty(first.fetch, 'length', { value: original.length, configurable: true })
  globalThis.fetch = first.fetch
  return undo
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isPost(options: unknown): options is DispatchOptions {
  return isObject(options) && (options as DispatchOptions).method === 'POST'
}

/** The body of a dispatched request that may be a token request's, read before it is sent. */
export interface ReadBody {
  /** `undefined` when it is longer than any token request's. */
  readonly text: string | undefined
  /** What to send in its place: the same bytes, in the same pieces. */
  readonly body: unknown
}

/** Longer than any token request. */
const MOST_BYTES = 64 * 1024

/** The text of a body that is at hand; `undefined` for one that comes in pieces, is too long, or is none. */
export function textAtHand(body: unknown): string | undefined {
  if (typeof body === 'string') return body.length <= MOST_BYTES ? body : undefined
  if (!ArrayBuffer.isView(body) || body.byteLength > MOST_BYTES) return undefined
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

/** Says whether a body comes in pieces, of which none was read: what fetch sends does, and a stream. */
export function comesInPieces(body: unknown): body is AsyncIterable<unknown> {
  if (typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)) return false
  const { readableDidRead, locked, destroyed } = body as { readableDidRead?: boolean; locked?: boolean; destroyed?: boolean }
  return readableDidRead !== true && locked !== true && destroyed !== true
}

/** Says whether a body in pieces is declared to be a short one, of a kind that a token request may have. */
export function isDeclaredShort({ headers }: DispatchOptions, kinds: RegExp): boolean {
  const declared = new Map(pairsOf(headers).map(([name, value]) => [String(name).toLowerCase(), String(value)]))
  const length = Number(declared.get('content-length') ?? Number.NaN)
  return length <= MOST_BYTES && kinds.test(declared.get('content-type') ?? '')
}

/** Reads a body as far as a token request may go. @throws what its source throws. */
export async function readPieces(source: AsyncIterable<unknown>): Promise<ReadBody> {
  const rest = source[Symbol.asyncIterator]()
  const pieces: unknown[] = []
  const held: Buffer[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await rest.next()
    if (done) return { text: Buffer.concat(held).toString('utf8'), body: piecewise(pieces) }
    pieces.push(value)
    const piece = typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? Buffer.from(value) : undefined
    bytes += piece?.byteLength ?? MOST_BYTES + 1
    if (bytes > MOST_BYTES) return { text: undefined, body: piecewise(pieces, rest) }
    if (piece) held.push(piece)
  }
}

async function* piecewise(pieces: readonly unknown[], rest?: AsyncIterator<unknown>): AsyncGenerator<unknown> {
  yield* pieces
  if (rest) yield* { [Symbol.asyncIterator]: () => rest }
}

/** undici takes headers as names and values in turn, as pairs, or by name. */
function pairsOf(headers: unknown): (readonly [unknown, unknown])[] {
  if (typeof headers !== 'object' || headers === null) return []
  const list = Array.isArray(headers) ? headers : Symbol.iterator in headers ? [...(headers as Iterable<unknown>)] : undefined
  if (!list) return Object.entries(headers)
  if (Array.isArray(list[0])) return list as [unknown, unknown][]
  return list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1]] as const] : []))
}
