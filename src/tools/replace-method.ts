/**
 * Replaces a method of one object of the application. Like the method of its class it is not enumerable: copies and listings of
 * the object stay what they are.
 */
export function replaceMethod(object: object, name: PropertyKey, method: (this: never, ...parameters: never[]) => unknown): void {
  Object.defineProperty(object, name, { value: method, writable: true, configurable: true, enumerable: false })
}
