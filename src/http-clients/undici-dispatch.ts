import { AsyncResource } from 'node:async_hooks'
import { type AsyncEntry, enter, entryNow, noteCaller, resumeEntry, runAsEntry } from '../callers/async-stack.ts'
import { objectAnnotations } from '../tools/object-annotations.ts'

/** What a dispatcher is asked to send, as far as it is used. */
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
export type DispatchInterceptor = (dispatch: Dispatch) => unknown

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

/** The first dispatch of a handler: its caller and its context. */
class FirstDispatch {
  // The garbage collector destroys it; async hooks of the host then get their `destroy`.
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
