/** Methods of undici's internal request: of version 5 to 7 and of the copies in Node up to 24, and of version 8. */
const KNOWN_METHODS = [
  ['onConnect', 'onHeaders', 'onData', 'onComplete', 'onError'],
  ['onRequestStart', 'onResponseStart', 'onResponseData', 'onResponseEnd', 'onResponseError'],
] as const

/**
 * Decides whether the internal request of undici, which `undici:request:create` publishes, is one whose fields may be
 * overwritten: `body` to hear what is sent, `onConnect` or `onRequestStart` to keep it from being sent, `onData` to hear
 * the answer. undici promises none of them. Where a later version differs, nothing is written and one notice says so.
 */
export class UndiciShapes {
  readonly #byClass = new WeakMap<object, boolean>()
  readonly #onNotice: (line: string) => void
  #isNoticed = false

  /** @param onNotice Takes one line, at the first request that is not known. */
  constructor(onNotice: (line: string) => void) {
    this.#onNotice = onNotice
  }

  /** Judges a request by its class: all requests of one are alike. */
  isKnown(request: object): boolean {
    const type = Object.getPrototypeOf(request) as object | null
    if (!type) return false
    let isKnown = this.#byClass.get(type)
    if (isKnown === undefined) {
      isKnown = hasKnownShape(request, type)
      this.#byClass.set(type, isKnown)
      if (!isKnown) this.#notice()
    }
    return isKnown
  }

  #notice(): void {
    if (this.#isNoticed) return
    this.#isNoticed = true
    this.#onNotice('this version of undici is not known: bodies that it streams are not read, and its requests cannot be refused')
  }
}

function hasKnownShape(request: object, type: object): boolean {
  const { aborted, completed } = request as { aborted?: unknown; completed?: unknown }
  return (
    Object.isExtensible(request) &&
    Object.getOwnPropertyDescriptor(request, 'body')?.writable === true &&
    typeof aborted === 'boolean' &&
    typeof completed === 'boolean' &&
    KNOWN_METHODS.some(names => names.every(name => isPlainMethod(type, name)))
  )
}

/** One that can be overwritten on the request. */
function isPlainMethod(type: object, name: string): boolean {
  const method = Object.getOwnPropertyDescriptor(type, name)
  return typeof method?.value === 'function' && method.writable === true
}
