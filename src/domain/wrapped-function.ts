/**
 * An asynchronous function of the application, as a wrapper takes it. The wrapper returns the same type, so that `this`,
 * overloads, optional parameters and the result stay what they are.
 */
export type AsyncFunction = (...parameters: never[]) => Promise<unknown>

/** Any function of the application: a provider call may return its stream at once. */
export type AnyFunction = (...parameters: never[]) => unknown

/** A value for all calls of the wrapped function, or read from the parameters of each. */
export type ValueOrReader<F extends AnyFunction, T> = T | ReadFromCall<F, T>

/** Reads a value from the parameters of a call. */
export type ReadFromCall<F extends AnyFunction, T> = (...parameters: Parameters<F>) => T

/** What the wrapped function resolves with. */
export type Resolved<F extends AnyFunction> = Awaited<ReturnType<F>>

/** The value of an option for one call. @throws what the reader throws */
export function valueFor<F extends AnyFunction, T extends string | undefined>(
  option: ValueOrReader<F, T> | undefined,
  parameters: Parameters<F>,
): T | undefined {
  return typeof option === 'function' ? option(...parameters) : option
}

/** Calls the wrapped function as it was called. @throws what it throws before it returns a promise */
export function callWrapped<F extends AnyFunction>(wrapped: F, self: unknown, parameters: Parameters<F>): Promise<Resolved<F>> {
  return Reflect.apply(wrapped, self, parameters) as Promise<Resolved<F>>
}
