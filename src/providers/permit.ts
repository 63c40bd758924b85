import { AsyncLocalStorage } from 'node:async_hooks'
import type { Fingerprint } from '../domain/fingerprint.ts'
import type { AnyFunction } from '../domain/wrapped-function.ts'
import type { TokenJudgement } from './provider.ts'

interface PermitOptions {
  /** The one URL it opens. */
  url: string
  /** How long it is good, in ms. */
  lifetimeMs: number
  /** Token requests it covers; more than one only where another caller's refresh function may retry inside one refresh. */
  uses?: number
  /** The permit that the code carries which makes this one: a refresh within a refresh. */
  within?: Permit | undefined
  /** A token request is seen under it for the first time. */
  onShown?: () => void
  /** The body of such a request is known; `undefined` where it holds no refresh token. */
  onSent?: (refresh: Fingerprint | undefined) => void
}

/**
 * Proof that the gate let a token request through. Bound to its URL, short-lived, used up.
 *
 * It is counted twice, because two parties look at it: the token endpoint `take`s it before sending, and the watch over
 * outgoing requests sees it `show`n by the request itself. A stolen context (undici 6 and 7 run queued requests in
 * another request's context) therefore opens the door once at most.
 */
export class Permit {
  readonly url: string
  /** Status of the last token request seen under this permit. */
  answered: number | undefined
  /** What became of that token request. */
  judgement: TokenJudgement | undefined
  /** Fingerprint of the refresh token in the last good answer. */
  received: Fingerprint | undefined
  /** Fingerprint of the refresh token that was sent last. */
  sent: Fingerprint | undefined
  /** Token requests seen under it, whether an answer came or not. */
  shown = 0
  readonly #goodUntil: number
  readonly #within: Permit | undefined
  readonly #onShown: (() => void) | undefined
  readonly #onSent: PermitOptions['onSent']
  #isClosed = false
  readonly #shownBy = new WeakSet<object>()
  #takes: number
  #shows: number

  constructor({ url, lifetimeMs, uses = 1, within, onShown, onSent }: PermitOptions) {
    this.url = normalizeUrl(url)
    this.#within = within
    this.#onShown = onShown
    this.#onSent = onSent
    this.#goodUntil = performance.now() + lifetimeMs
    this.#takes = uses
    this.#shows = uses
  }

  /** Uses it up for sending. @returns false when it is spent, too old or for another URL. */
  take(url: string): boolean {
    return this.#opens(url) && this.#takes-- > 0
  }

  /**
   * Uses it up for a request seen on its way out.
   *
   * @param request Stands for the request: seen by two watches it is still one request.
   * @returns as `take`.
   */
  show(url: string, request: object): boolean {
    if (!this.#opens(url)) return false
    if (!this.#shownBy.has(request)) {
      if (this.#shows-- <= 0) return false
      this.#shownBy.add(request)
      this.shown += 1
      if (this.shown === 1) this.#onShown?.()
    }
    return true
  }

  /** Whether bodies of requests are of use to the code that made it. */
  get wantsBody(): boolean {
    return this.#onSent !== undefined
  }

  /** The body of a request seen under it is known. @param refresh Fingerprint of its refresh token */
  sends(refresh: Fingerprint | undefined): void {
    this.sent = refresh
    this.#onSent?.(refresh)
  }

  /** Whether it is that permit, or one made by what carries it. */
  isWithin(outer: Permit): boolean {
    return this === outer || (this.#within?.isWithin(outer) ?? false)
  }

  /** Nothing more is let through: what it was for has ended. */
  close(): void {
    this.#isClosed = true
  }

  #opens(url: string): boolean {
    return !this.#isClosed && performance.now() < this.#goodUntil && normalizeUrl(url) === this.url
  }
}

/** Under this name every copy of the package in the process finds the permits: the watch of one must see those of another's gate. */
const PERMITS = Symbol.for('gatewatch permits')
const shared = globalThis as { [PERMITS]?: AsyncLocalStorage<Permit> }

/** Runs `work` so that the token requests it makes can be seen to carry `permit`. */
export function carryPermit<T>(permit: Permit, work: () => T): T {
  return storage().run(permit, work)
}

/** Made when the first permit is carried: a watched process that has no gate gets no global of ours. */
function storage(): AsyncLocalStorage<Permit> {
  const known = shared[PERMITS]
  if (known) return known
  const made = new AsyncLocalStorage<Permit>()
  Object.defineProperty(shared, PERMITS, { value: made, configurable: true })
  return made
}

/** The permit carried by the code that runs now. */
export function carriedPermit(): Permit | undefined {
  return shared[PERMITS]?.getStore()
}

/**
 * Binds the permit that the code running now carries to a function that runs later, in the context of other code: a job of a queue.
 *
 * @returns A function with the same `this`, arguments and result; `work` itself where no permit is carried.
 */
export function bindPermit<F extends AnyFunction>(work: F): F {
  const permit = carriedPermit()
  if (!permit) return work
  function bound(this: unknown, ...parameters: Parameters<F>): unknown {
    return carryPermit(permit as Permit, () => Reflect.apply(work, this, parameters) as unknown)
  }
  return bound as F
}

/** The parts of a token URL that are compared: scheme, host, port and path; not query, fragment and credentials. */
export function normalizeUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}
