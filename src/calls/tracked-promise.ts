/** Takes what a function returns, or its promise brings. */
interface ResultListener {
  resolved(value: unknown): void
  rejected(error: unknown): void
}

/** What a function returned, whose end is reported; a result that is no promise is there at once. */
export function trackedResult(result: unknown, listener: ResultListener): unknown {
  if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function')
    return trackedPromise(result as Promise<unknown>, listener)
  listener.resolved(result)
  return result
}

/**
 * A promise whose end is reported. One that is more than a promise stays what it is (the `APIPromise` of the OpenAI and Anthropic SDKs,
 * with `withResponse` and `asResponse`), and makes its work, such as reading the body, only when the application asks for it.
 */
function trackedPromise<T>(promise: Promise<T>, listener: ResultListener): Promise<T> {
  if (Object.getPrototypeOf(promise) === Promise.prototype) return tracked(promise, listener)
  return new Proxy(promise, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const call = (...parameters: unknown[]): unknown => Reflect.apply(value, target, parameters)
      const report = REPORTING.get(name)
      return report ? (...parameters: unknown[]) => report(call, parameters, listener) : call
    },
  })
}

type Reporting = (call: (...parameters: unknown[]) => unknown, parameters: unknown[], listener: ResultListener) => unknown

function tracked<T>(promise: Promise<T>, listener: ResultListener, brought = (value: T): unknown => value): Promise<T> {
  return promise.then(
    value => {
      listener.resolved(brought(value))
      return value
    },
    (error: unknown) => {
      listener.rejected(error)
      throw error
    },
  )
}

/** The methods by which an application gets what such a promise brings. */
const REPORTING: ReadonlyMap<PropertyKey, Reporting> = new Map<PropertyKey, Reporting>([
  ['then', (call, [onResolved, onRejected], listener) => whole(call, listener).then(onResolved as never, onRejected as never)],
  ['catch', (call, [onRejected], listener) => whole(call, listener).catch(onRejected as never)],
  ['withResponse', (call, _none, listener) => tracked(call() as Promise<{ data: unknown }>, listener, ({ data }) => data)],
  ['asResponse', (call, _none, listener) => whole(call, listener)],
  ['finally', (call, [onEnd], listener) => whole(call, listener).finally(onEnd as never)],
])

function whole(call: Parameters<Reporting>[0], listener: ResultListener): Promise<unknown> {
  return tracked(call() as Promise<unknown>, listener)
}
